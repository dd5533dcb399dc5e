// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/pool"
	"github.com/dnsingress/dnsingress/internal/cli"
)

// explainTimeout bounds the question to the admin address.
const explainTimeout = 10 * time.Second

func explainCommand(s streams) *cobra.Command {
	var base, output string
	var events int
	c := &cobra.Command{
		Use:   "explain NAME",
		Short: "Say why each member of a name's pool is in or out",
		Long: `Say why each member of a name's pool is in or out: its rule and value, since when, its
share of the answers, the TTL and what set it, and what was decided lately.

The same, as it changes, is a web page at the admin address.`,
		Example: `  dnsingress explain backend.apps.test --admin http://[fd6e:7369:0:1::11]:9153
  dnsingress explain backend.apps.test -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := adminURL(base)
			if err != nil {
				return err
			}
			if err := checkOutput(output); err != nil {
				return err
			}
			if events < 0 {
				return cli.Misuse("--history %d is negative", events)
			}
			body, err := ask(cmd.Context(), u, args[0])
			if err != nil {
				return err
			}
			if output == "json" {
				_, err := s.out.Write(body)
				return err
			}
			var x pool.Explanation
			if err := json.Unmarshal(body, &x); err != nil {
				return fmt.Errorf("reading what %s says: %w (hint: is that dnsingress's admin address?)", u, err)
			}
			return printExplanation(s.out, x, events, time.Now())
		},
	}
	c.Flags().StringVar(&base, "admin", "http://localhost:9153", "`URL` of the admin address of a running dnsingress")
	c.Flags().IntVar(&events, "history", 5, "how many of the last decisions the table shows, 0 to 32")
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return c
}

// adminURL reads the address of a running dnsingress.
func adminURL(base string) (*url.URL, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, cli.Misuse("admin address %q is no URL (hint: --admin http://localhost:9153)", base)
	}
	return u, nil
}

// ask gets the explanation of name as JSON.
func ask(ctx context.Context, base *url.URL, name string) ([]byte, error) {
	u := base.JoinPath("explain")
	u.RawQuery = url.Values{"name": {name}}.Encode()
	body, err := askAdmin(ctx, u)
	if missing := (*missingError)(nil); errors.As(err, &missing) {
		return nil, fmt.Errorf("%w (hint: GET %s lists the names)", err, base.JoinPath("explain"))
	}
	return body, err
}

// missingError is what the admin address says of what is not there.
type missingError struct {
	from *url.URL
	says string
}

func (e *missingError) Error() string {
	return fmt.Sprintf("asking %s://%s: %s", e.from.Scheme, e.from.Host, e.says)
}

// askAdmin gets what is at an admin address.
func askAdmin(ctx context.Context, u *url.URL) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", u, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking dnsingress: %w (hint: --admin http://HOST:9153 of a running dnsingress)", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", u, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, &missingError{u, strings.TrimSpace(string(body))}
	}
	return body, nil
}

// printExplanation prints x as people read it, with the last events of its history.
func printExplanation(w io.Writer, x pool.Explanation, events int, now time.Time) error {
	fmt.Fprintf(w, "%s  %s  zone %s  serial %d\n", x.Name, x.Object, x.Zone, x.Serial)
	most := "all"
	if x.Max > 0 {
		most = strconv.Itoa(x.Max)
	}
	fmt.Fprintf(w, "ttl %ds by %s  negative ttl %ds  selection %s  at most %s\n", x.TTL, x.TTLRule, x.NegativeTTL, x.Selection, most)
	if len(x.Rivals) > 0 {
		fmt.Fprintf(w, "claimed by %s as well\n", strings.Join(x.Rivals, ", "))
	}
	if x.For != "" {
		fmt.Fprintf(w, "made for the ports of %s\n", x.For)
	}
	if x.Merge != "" {
		fmt.Fprintf(w, "merged by %s\n", x.Merge)
	}
	for _, p := range x.Peers {
		printPeer(w, p, now)
	}
	if x.FailOpen {
		fmt.Fprintln(w, "too few members satisfy the policy: all ready ones are in")
	}
	if x.LastResort {
		fmt.Fprintln(w, "nobody is ready: the last resort is who serves while terminating")
	}
	if x.Policy != nil {
		fmt.Fprintln(w)
		if err := printSignals(w, x.Policy); err != nil {
			return err
		}
	}
	for _, print := range []func(io.Writer, pool.Explanation, time.Time) error{printMembers, printRecords, printFollows} {
		if err := print(w, x, now); err != nil {
			return err
		}
	}
	for _, p := range x.Problems {
		fmt.Fprintf(w, "problem: %s\n", p)
	}
	return printHistory(w, x.History[max(0, len(x.History)-events):])
}

// printMembers prints who may be in the answer, and the groups that they belong to.
func printMembers(w io.Writer, x pool.Explanation, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(x.Groups) > 0 {
		fmt.Fprintln(t, "\nGROUP\tWEIGHT\tIN\tSHARE")
		for _, g := range x.Groups {
			fmt.Fprintf(t, "%s\t%d\t%d\t%.1f%%\n", orDash(g.Name), g.Weight, g.In, 100*g.Share)
		}
	}
	clusters := x.Merge != ""
	if len(x.Members) > 0 || len(x.Records) == 0 {
		cluster := ""
		if clusters {
			cluster = "CLUSTER\t"
		}
		fmt.Fprintln(t, "\n"+cluster+"ADDRESS\tPOD\tNODE\tSTATE\tREASON\tRULE\tVALUE\tLIMIT\tSHARE\tFOR")
	}
	for _, m := range x.Members {
		share := "-"
		if m.State == "in" && m.Weight > 0 {
			share = fmt.Sprintf("%.1f%%", 100*m.Weight)
		}
		if clusters {
			fmt.Fprintf(t, "%s\t", orDash(m.Cluster))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.Address, orDash(m.Pod), orDash(m.Node), m.State, m.Reason,
			orDash(m.Rule), digits(m.Value), digits(m.Limit), share, now.Sub(m.Since).Round(time.Second))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// printRecords prints the records that are no members' addresses, one a line.
func printRecords(w io.Writer, x pool.Explanation, _ time.Time) error {
	if len(x.Records) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nTYPE\tTTL\tGEO\tSET\tSHARE\tDATA")
	for _, s := range x.Records {
		for _, o := range s.Options {
			for _, r := range o.Records {
				fmt.Fprintf(t, "%s\t%ds\t%s\t%s\t%.1f%%\t%s\n", s.Type, s.TTL, orDash(o.Geo), orDash(o.Set), 100*o.Share, r)
			}
		}
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// printFollows prints what is known of host names outside.
func printFollows(w io.Writer, x pool.Explanation, _ time.Time) error {
	if len(x.Follows) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nFOLLOWS\tADDRESSES\tCONFIRMED\tERROR")
	for _, f := range x.Follows {
		confirmed := "never"
		if f.Age != nil {
			confirmed = time.Duration(float64(*f.Age)*float64(time.Second)).Round(time.Second).String() + " ago"
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", f.Name, len(f.Addresses), confirmed, orDash(f.Error))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

func printSignals(w io.Writer, p *pool.Policy) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SIGNAL\tKIND\tEVERY\tAGE\tQUERY")
	for _, s := range p.Signals {
		age := "none yet"
		if s.Age != nil {
			age = time.Duration(float64(*s.Age) * float64(time.Second)).Round(100 * time.Millisecond).String()
		}
		every := time.Duration(s.Interval * float64(time.Second))
		fmt.Fprintf(t, "%s\t%s\t%v\t%s\t%s\n", orDash(s.Name), s.Kind, every, age, orDash(strings.Join(strings.Fields(s.Query), " ")))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	if len(p.Rules) > 0 {
		fmt.Fprintln(t, "\nRULE\tSIGNAL\tSAYS\tLIMIT")
		for _, r := range p.Rules {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", orDash(cmp.Or(r.Name, r.Signal)), orDash(r.Signal), r.Says, digits(r.Limit))
		}
		if err := t.Flush(); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
	}
	for _, s := range p.Signals {
		if s.Error != "" {
			fmt.Fprintf(w, "last evaluation of %s: %s\n", orDash(s.Name), s.Error)
		}
	}
	return nil
}

func printHistory(w io.Writer, history []pool.Event) error {
	if len(history) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TIME\tBECAUSE OF\tIN\tTTL\tTTL RULE\tCHANGES")
	for _, e := range history {
		in := fmt.Sprintf("%d/%d", e.In, e.Ready)
		if e.FailOpen {
			in += " fail open"
		}
		var changes []string
		for _, c := range e.Changes {
			who := c.Pod
			if who == "" {
				who = c.Address.String()
			}
			if c.Cluster != "" {
				who = c.Cluster + " " + who
			}
			text := strings.TrimSpace(fmt.Sprintf("%s %s→%s %s %s", who, c.Was, c.State, c.Reason, c.Rule))
			if c.Value != nil {
				text += " " + digits(c.Value)
			}
			changes = append(changes, text)
		}
		if e.More > 0 {
			changes = append(changes, fmt.Sprintf("and %d more", e.More))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%gs\t%s\t%s\n", e.At.UTC().Format(time.RFC3339), e.Trigger, in, e.TTL, orDash(e.TTLRule), orDash(strings.Join(changes, ", ")))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// digits is a number for a table.
func digits(n *pool.Number) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatFloat(float64(*n), 'g', 6, 64)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
