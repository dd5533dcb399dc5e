// SPDX-License-Identifier: Apache-2.0

package results

// Files of trials over real resolvers; others have none of them.
const (
	// LookupsFile has a row for each resolution before the load (Sample): request "cold" is the first of a resolver that
	// has just started, "warm" what it holds already, "joined" what was asked while the cold one was under way.
	LookupsFile = "lookups.parquet"
	// QueriesFile has a row for each question that a server of the delegation tree was asked on behalf of the trial's
	// client, from its first cold resolution to the end of the window (Query).
	QueriesFile = "queries.parquet"
)

// Requests in LookupsFile.
const (
	LookupCold   = "cold"
	LookupWarm   = "warm"
	LookupJoined = "joined"
)

// Query is a question that an authoritative server was asked: a row of queries.parquet.
type Query struct {
	AtNs   int64  `parquet:"at_ns,delta"` // when the server took it
	Level  string `parquet:"level,dict"`  // of the server: root, upper, middle, leaf
	Server string `parquet:"server,dict"` // node of the server
	Client string `parquet:"client,dict"` // node that asked
	Name   string `parquet:"name,dict"`   // as asked, in lower case
	Type   string `parquet:"type,dict"`
	Proto  string `parquet:"proto,dict"` // udp or tcp
	Rcode  string `parquet:"rcode,dict"` // of the reply; empty for none
	// Addresses of the reply's answer section, in its order with a comma between; empty for a referral.
	Addresses string `parquet:"addresses,dict"`
}
