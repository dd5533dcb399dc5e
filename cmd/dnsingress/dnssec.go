// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/dnssec"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/miekg/dns"
	"github.com/spf13/cobra"
)

func dnssecCommand(s streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "dnssec",
		Short: "Make keys that zones are signed with, and what their parents need of them",
	}
	c.AddCommand(keygenCommand(s), dsCommand(s))
	return c
}

func keygenCommand(s streams) *cobra.Command {
	var algorithm, dir, role string
	var dry bool
	c := &cobra.Command{
		Use:   "keygen ZONE",
		Short: "Make a key for a zone and write its two files",
		Long: `Make a key for a zone and write its two files, in the format of BIND's dnssec-keygen.

One key of role csk is all that a zone needs. With a key of role ksk beside one of role
zsk, the first signs only the keys and can be replaced less often. Prints the name of
the files without their endings, which --dnssec-key takes.`,
		Example: `  dnsingress dnssec keygen example.org
  dnsingress serve --zone-file example.org.zone --listen [::]:53 --dnssec-key Kexample.org.+013+12345
  dnsingress dnssec ds Kexample.org.+013+12345`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			number, errAlgorithm := dnssec.ParseAlgorithm(algorithm)
			var errRole error
			if role != "csk" && role != "ksk" && role != "zsk" {
				errRole = fmt.Errorf("role %q is none of csk, ksk and zsk", role)
			}
			if err := errors.Join(errAlgorithm, errRole); err != nil {
				return cli.Misuse("%w", err)
			}
			if _, ok := dns.IsDomainName(args[0]); !ok {
				return cli.Misuse("%q is no domain name", args[0])
			}
			key, err := dnssec.Generate(args[0], number, role != "zsk")
			if err != nil {
				return err
			}
			if dry {
				fmt.Fprintf(s.out, "would write a key of role %s and algorithm %s for %s to %s\n", role, dns.AlgorithmToString[number], key.Zone(), dir)
				return nil
			}
			if _, err := key.Write(dir, time.Now()); err != nil {
				return err
			}
			fmt.Fprintln(s.out, key.Name())
			return nil
		},
	}
	c.Flags().StringVar(&algorithm, "algorithm", "ECDSAP256SHA256", "ECDSAP256SHA256 or ED25519")
	c.Flags().StringVar(&role, "role", "csk", "csk: signs everything; ksk: signs the keys; zsk: signs the rest")
	c.Flags().StringVar(&dir, "dir", ".", "`DIRECTORY` for the files")
	c.Flags().BoolVar(&dry, "dry-run", false, "check the arguments and say what would be written")
	return c
}

// keyInfo is a key as `dnssec ds -o json` prints it.
type keyInfo struct {
	Zone      string `json:"zone"`
	Tag       uint16 `json:"tag"`
	Algorithm string `json:"algorithm"`
	Flags     uint16 `json:"flags"`
	DNSKEY    string `json:"dnskey"`
	DS        string `json:"ds,omitempty"` // of keys that a parent may name
}

func dsCommand(s streams) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "ds FILE...",
		Short: "Print the DS records that the parent zone needs for keys",
		Long: `Print the DS records that the parent zone needs for keys, by their files: the .key or .private of a pair.

Parents that follow RFC 7344 find the same in the CDS and CDNSKEY records that a signed
zone is served with.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			if output != "ds" && output != "table" && output != "json" {
				return cli.Misuse("-o %q is none of ds, table and json", output)
			}
			var keys []*dnssec.Key
			var errs []error
			for _, f := range files {
				k, err := dnssec.Load(f)
				keys, errs = append(keys, k), append(errs, err)
			}
			if err := errors.Join(errs...); err != nil {
				return cli.Misuse("%w", err)
			}
			infos := make([]keyInfo, 0, len(keys))
			for _, k := range keys {
				public := k.DNSKEY(3600)
				info := keyInfo{Zone: k.Zone(), Tag: k.Tag(), Algorithm: dns.AlgorithmToString[k.Algorithm()], Flags: public.Flags, DNSKEY: public.String()}
				if k.SignsKeys() {
					info.DS = k.DS(3600).String()
				}
				infos = append(infos, info)
			}
			return printKeys(s, infos, output)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "ds", "ds: records; table: the keys; json: both")
	return c
}

func printKeys(s streams, keys []keyInfo, output string) error {
	switch output {
	case "json":
		e := json.NewEncoder(s.out)
		e.SetIndent("", "  ")
		return e.Encode(keys)
	case "table":
		w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ZONE\tTAG\tALGORITHM\tFLAGS\tSIGNS")
		for _, k := range keys {
			signs := "records"
			if k.DS != "" {
				signs = "keys, and records where no other key does"
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%s\n", k.Zone, k.Tag, k.Algorithm, k.Flags, signs)
		}
		return w.Flush()
	}
	none := true
	for _, k := range keys {
		if k.DS != "" {
			none = false
			fmt.Fprintln(s.out, k.DS)
		}
	}
	if none {
		return cli.Misuse("no key here has flags 257, which a DS record is for (hint: give the ksk)")
	}
	return nil
}
