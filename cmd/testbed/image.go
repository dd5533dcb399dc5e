// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/image"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/internal/cli"
)

func imageCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Make what is written to nodes' cards",
	}
	cmd.AddCommand(s.imageBuildCommand(), s.imageListCommand(), s.imageInspectCommand())
	return cmd
}

func (s streams) imageBuildCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "build NODE|GROUP|all...",
		Short: "Write the images of nodes as files",
		Long: `Write the images of nodes as files: the operating system that the inventory pins, and on its boot
partition what makes the node the one that the inventory describes: name, static address, SSH host key,
authorised keys, packages, settings of kernel, firmware and boot EEPROM.

The same inputs give the same bytes. 'testbed flash' needs no such files: it makes the image while it
writes. Host keys are made once and kept in the cluster's state; --pin enters them in the inventory.`,
	}
	path := inventoryFlag(cmd)
	nodes := cmd.Flags().StringSlice("node", nil, "the nodes (as the arguments)")
	out := cmd.Flags().String("out", "build/images", "directory of the files, NODE.img")
	pin := cmd.Flags().Bool("pin", false, "enter the nodes' host keys in the inventory, as hostKey")
	dry := cmd.Flags().Bool("dry-run", false, "say what would be made, fetch and write nothing")
	format := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(*format); err != nil {
			return err
		}
		inv, log, err := s.load(cmd, *path)
		if err != nil {
			return err
		}
		words := append(args, *nodes...)
		if len(words) == 0 {
			return cli.Misuse("no node (hint: names, groups, or all)")
		}
		chosen, err := choose(inv, words)
		if err != nil {
			return err
		}
		c, err := cluster.New(inv, log)
		if err != nil {
			return err
		}
		defer c.Close()
		if *dry {
			for _, n := range chosen {
				system, ok := inv.ImageOf(n)
				if !ok {
					return cli.Misuse("%s has no image (hint: images: and image: in %s)", n.Name, inv.Path)
				}
				fmt.Fprintf(s.Out, "%s: %s with its own name, address and keys → %s\n", n.Name, system.ID, filepath.Join(*out, n.Name+".img"))
			}
			return nil
		}
		recipe, err := newRecipe(c, s.Err)
		if err != nil {
			return err
		}
		defer recipe.Close()
		if err := os.MkdirAll(*out, 0o755); err != nil {
			return fmt.Errorf("making the directory of images: %w", err)
		}
		var rows []imageRow
		for _, n := range chosen {
			row, err := s.buildImage(cmd.Context(), recipe, n, filepath.Join(*out, n.Name+".img"))
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
		if *pin {
			keys := map[string]string{}
			for _, row := range rows {
				keys[row.Node] = row.HostKey
			}
			added, err := inventory.PinHostKeys(inv.Path, keys)
			if err != nil {
				return err
			}
			fmt.Fprintf(s.Err, "pinned %d host keys in %s\n", added, inv.Path)
		}
		return s.writeImages(rows, *format)
	}
	return cmd
}

func (s streams) imageListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the images that nodes are to have",
		Args:  cobra.NoArgs,
	}
	path := inventoryFlag(cmd)
	format := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*format); err != nil {
			return err
		}
		c, _, err := s.known(cmd, *path)
		if err != nil {
			return err
		}
		defer c.Close()
		recipe, err := recipeOf(c, s.Err)
		if err != nil {
			return err
		}
		defer recipe.Close()
		rows := []imageRow{}
		for _, n := range c.Inventory.Nodes {
			if _, ok := c.Inventory.ImageOf(n); !ok {
				continue
			}
			id, err := recipe.ID(cmd.Context(), n)
			if errors.Is(err, fs.ErrNotExist) { // nobody has made its key yet
				rows = append(rows, imageRow{Node: n.Name, System: n.Image, HostKey: n.HostKey, Pinned: n.HostKey != ""})
				continue
			}
			if err != nil {
				return err
			}
			row, err := newImageRow(recipe, n, id)
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
		return s.writeImages(rows, *format)
	}
	return cmd
}

func (s streams) imageInspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect FILE",
		Short: "Say what an operating system's image, unpacked, is",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return cli.Misuse("opening the image: %w", err)
			}
			defer f.Close()
			size, err := f.Seek(0, io.SeekEnd)
			if err != nil {
				return fmt.Errorf("reading the image: %w", err)
			}
			l, err := image.Inspect(f, size)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return s.json(l)
		},
	}
}

// newRecipe makes the host keys that are missing, and returns what images are made from.
func newRecipe(c *cluster.Cluster, progress io.Writer) (*image.Recipe, error) {
	if err := c.MakeKeys(); err != nil {
		return nil, err
	}
	return recipeOf(c, progress)
}

// recipeOf is newRecipe with the keys that there are.
func recipeOf(c *cluster.Cluster, progress io.Writer) (*image.Recipe, error) {
	authorized, err := c.Authorized()
	if err != nil {
		return nil, err
	}
	cache, err := cluster.CacheDir()
	if err != nil {
		return nil, err
	}
	return &image.Recipe{
		Inventory: c.Inventory, Cache: cache, HostKey: c.HostKey, Authorized: authorized,
		Report: func(p image.Progress) {
			if p.Total > 0 {
				fmt.Fprintf(progress, "%s %s: %d %% of %d MiB\n", p.What, p.Image, 100*p.Done/p.Total, p.Total>>20)
			} else {
				fmt.Fprintf(progress, "%s %s: %d MiB\n", p.What, p.Image, p.Done>>20)
			}
		},
	}, nil
}

// imageRow is what is said of an image.
type imageRow struct {
	Node    string `json:"node"`
	ID      string `json:"id,omitempty"`
	System  string `json:"system"`             // the operating system's id in the inventory
	Init    string `json:"init,omitempty"`     // what reads the customisation
	HostKey string `json:"host_key,omitempty"` // public, as authorized_keys has it
	Pinned  bool   `json:"pinned"`             // in the inventory
	Path    string `json:"path,omitempty"`
	Size    int64  `json:"size,omitempty"`   // bytes
	SHA256  string `json:"sha256,omitempty"` // of the file
}

func newImageRow(r *image.Recipe, n inventory.Node, id string) (imageRow, error) {
	private, err := r.HostKey(n.Name)
	if err != nil {
		return imageRow{}, err
	}
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil {
		return imageRow{}, fmt.Errorf("reading the host key of %s: %w", n.Name, err)
	}
	public := ssh.MarshalAuthorizedKey(signer.PublicKey())
	return imageRow{Node: n.Name, ID: id, System: n.Image, HostKey: string(public[:len(public)-1]), Pinned: n.HostKey != ""}, nil
}

func (s streams) buildImage(ctx context.Context, r *image.Recipe, n inventory.Node, path string) (imageRow, error) {
	i, err := r.Image(ctx, n)
	if err != nil {
		return imageRow{}, err
	}
	row, err := newImageRow(r, n, i.ID)
	if err != nil {
		return row, err
	}
	sum, err := i.WriteFile(ctx, path)
	if err != nil {
		return row, err
	}
	row.Init, row.Path, row.Size, row.SHA256 = i.Layout.Init, path, i.Size(), hex.EncodeToString(sum[:])
	return row, nil
}

func (s streams) writeImages(rows []imageRow, format string) error {
	if format == "json" {
		return s.json(rows)
	}
	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tIMAGE\tSYSTEM\tINIT\tPINNED\tMIB\tSHA-256\tPATH")
	for _, r := range rows {
		size, sum := "-", "-"
		if r.Size > 0 {
			size, sum = fmt.Sprint(r.Size>>20), r.SHA256[:16]
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%t\t%s\t%s\t%s\n", r.Node, dash(r.ID), r.System, dash(r.Init), r.Pinned, size, sum, dash(r.Path))
	}
	return w.Flush()
}
