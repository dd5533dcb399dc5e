// SPDX-License-Identifier: Apache-2.0

package results

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// OpenParquet opens the Parquet file at path for reading by column. The caller closes the closer.
// A file that is torn or no Parquet file is an error that names it.
func OpenParquet(path string) (*parquet.File, io.Closer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", path, err)
	}
	file, err := openParquet(f)
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("reading %s: %w (hint: the file is truncated or no Parquet file)", path, err)
	}
	if err := readable(file); err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return file, f, nil
}

func openParquet(f *os.File) (_ *parquet.File, err error) {
	defer Damaged(&err)
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	// The library makes room for as much footer as the file's last bytes claim, up to 4 GiB, before it looks.
	const trailer = 8 // length of the footer, "PAR1"
	var tail [trailer]byte
	if st.Size() < trailer {
		return nil, fmt.Errorf("it has %d bytes", st.Size())
	}
	if _, err := f.ReadAt(tail[:], st.Size()-trailer); err != nil {
		return nil, fmt.Errorf("reading its end: %w", err)
	}
	if footer := int64(binary.LittleEndian.Uint32(tail[:])); footer > st.Size()-trailer {
		return nil, fmt.Errorf("its footer claims %d of %d bytes", footer, st.Size())
	}
	return parquet.OpenFile(f, st.Size(), parquet.SkipBloomFilters(true), parquet.SkipPageIndex(true))
}

// readable returns why the file's columns are not read. What is written is Zstandard. Of damaged bytes the decoders of
// others ask for memory without end: Snappy's, which pandas takes unless told otherwise, for as much as four of its bytes claim.
func readable(file *parquet.File) error {
	for _, group := range file.Metadata().RowGroups {
		for _, column := range group.Columns {
			if codec := column.MetaData.Codec; codec != format.Zstd && codec != format.Uncompressed {
				return fmt.Errorf("column %s is compressed with %v, which is not read (hint: write it with Zstandard, in pandas to_parquet(…, compression='zstd'))",
					strings.Join(column.MetaData.PathInSchema, "."), codec)
			}
		}
	}
	return nil
}

// Damaged, deferred around calls of the Parquet library, turns its panic into an error: with
// damaged metadata the library indexes out of range rather than return one.
func Damaged(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("damaged: %v", p)
	}
}
