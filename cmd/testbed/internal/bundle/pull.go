// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// errRegistry says that a registry did not give what it was asked for.
var errRegistry = errors.New("no image from its registry")

// pull fetches an image by its digest, and returns all its files as one layer, and how it is run. What comes is held against the digest.
func pull(ctx context.Context, from, arch string) (layer []byte, config v1.Config, err error) {
	ref, err := name.NewDigest(from)
	if err != nil {
		return nil, v1.Config{}, fmt.Errorf("%s: %w (hint: host/path@sha256:…, since a tag can be moved)", from, err)
	}
	img, err := remote.Image(ref, remote.WithContext(ctx), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))
	if err != nil {
		return nil, v1.Config{}, fmt.Errorf("%w: %s for %s: %w (hint: this machine must reach %s; other systems need no registry)", errRegistry, ref, arch, err, ref.RegistryStr())
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, v1.Config{}, fmt.Errorf("%w: %s: %w", errRegistry, ref, err)
	}
	if file.Architecture != arch {
		return nil, v1.Config{}, fmt.Errorf("%s is for %s, not %s", ref, file.Architecture, arch)
	}
	files := mutate.Extract(img)
	defer files.Close()
	if layer, err = io.ReadAll(files); err != nil {
		return nil, v1.Config{}, fmt.Errorf("%w: %s: %w", errRegistry, ref, err)
	}
	return layer, file.Config, nil
}
