// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
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
	c := &cobra.Command{
		Use:   "explain NAME",
		Short: "Say why each member of a name's pool is in or out",
		Example: `  dnsingress explain backend.apps.test --admin http://[fd6e:7369:0:1::11]:9153
  dnsingress explain backend.apps.test -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := url.Parse(base)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
				return cli.Misuse("admin address %q is no URL (hint: --admin http://localhost:9153)", base)
			}
			if !slices.Contains([]string{"table", "json"}, output) {
				return cli.Misuse("unknown output %q (hint: table or json)", output)
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
			return printExplanation(s.out, x, time.Now())
		},
	}
	c.Flags().StringVar(&base, "admin", "http://localhost:9153", "`URL` of the admin address of a running dnsingress")
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return c
}

// ask gets the explanation of name as JSON.
func ask(ctx context.Context, base *url.URL, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	u := base.JoinPath("explain")
	u.RawQuery = url.Values{"name": {name}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", base, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking dnsingress: %w (hint: --admin http://HOST:9153 of a running dnsingress)", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", base, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking %s: %s (hint: GET %s lists the names)", base, strings.TrimSpace(string(body)), base.JoinPath("explain"))
	}
	return body, nil
}

func printExplanation(w io.Writer, x pool.Explanation, now time.Time) error {
	fmt.Fprintf(w, "%s  %s  ttl %ds  zone %s  serial %d\n", x.Name, x.Object, x.TTL, x.Zone, x.Serial)
	if p := x.Policy; p != nil {
		fmt.Fprintf(w, "keep %s  of  %s\n", p.Keep, p.Query)
		if p.Readmit != "" {
			fmt.Fprintf(w, "readmit %s\n", p.Readmit)
		}
		if p.SignalAge != nil {
			fmt.Fprintf(w, "values are %s old\n", time.Duration(float64(*p.SignalAge)*float64(time.Second)).Round(100*time.Millisecond))
		} else {
			fmt.Fprintln(w, "no values yet")
		}
		if p.Error != "" {
			fmt.Fprintf(w, "last evaluation: %s\n", p.Error)
		}
	}
	if x.FailOpen {
		fmt.Fprintln(w, "too few members satisfy the policy: all ready ones are in")
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ADDRESS\tPOD\tNODE\tSTATE\tREASON\tVALUE\tFOR")
	for _, m := range x.Members {
		value := "-"
		if m.Value != nil {
			value = strconv.FormatFloat(float64(*m.Value), 'g', 6, 64)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.Address, orDash(m.Pod), orDash(m.Node), m.State, m.Reason, value, now.Sub(m.Since).Round(time.Second))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	for _, p := range x.Problems {
		fmt.Fprintf(w, "problem: %s\n", p)
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
