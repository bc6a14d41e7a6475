// Accepts the folder of a ledger, or says why not. The code that decides is Go's own, of its checksum
// database: the log has signed the checkpoint, every entry is in the tree of that checkpoint by the
// hash tiles of the folder, and the tree has only grown since an older checkpoint.
//
//	verify VKEY FOLDER [OLDER-CHECKPOINT]
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

func main() {
	if err := verify(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func verify(vkey, folder string, older []string) error {
	tree, err := openCheckpoint(vkey, filepath.Join(folder, "checkpoint"))
	if err != nil {
		return err
	}
	hashes := tlog.TileHashReader(tree, tiles{folder})
	if err := checkEntries(folder, tree, hashes); err != nil {
		return err
	}
	for _, path := range older {
		if err := checkGrowth(vkey, path, tree, hashes); err != nil {
			return err
		}
	}
	return nil
}

func openCheckpoint(vkey, path string) (tlog.Tree, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return tlog.Tree{}, err
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tlog.Tree{}, err
	}
	signed, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	// Not tlog.ParseTree: that is for Go's own log, whose first line is another.
	lines := strings.Split(signed.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() || lines[3] != "" {
		return tlog.Tree{}, fmt.Errorf("%q is not a checkpoint of %s", signed.Text, verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

func checkEntries(folder string, tree tlog.Tree, hashes tlog.HashReader) error {
	for first := int64(0); first < tree.N; first += 1 << height {
		width := tree.N - first
		if width > 1<<height {
			width = 1 << height
		}
		tile := tlog.Tile{H: height, L: -1, N: first >> height, W: int(width)}
		entries, err := readBundle(pathOf(folder, tile), tile.W)
		if err != nil {
			return err
		}
		if err := checkBundle(first, entries, hashes); err != nil {
			return err
		}
	}
	return nil
}

func checkBundle(first int64, entries [][]byte, hashes tlog.HashReader) error {
	indexes := make([]int64, len(entries))
	for place := range entries {
		indexes[place] = tlog.StoredHashIndex(0, first+int64(place))
	}
	proved, err := hashes.ReadHashes(indexes)
	if err != nil {
		return err
	}
	for place, entry := range entries {
		if tlog.RecordHash(entry) != proved[place] {
			return fmt.Errorf("entry %d is not in the tree", first+int64(place))
		}
	}
	return nil
}

func checkGrowth(vkey, path string, tree tlog.Tree, hashes tlog.HashReader) error {
	older, err := openCheckpoint(vkey, path)
	if err != nil {
		return err
	}
	proof, err := tlog.ProveTree(tree.N, older.N, hashes)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, tree.N, tree.Hash, older.N, older.Hash)
}

func readBundle(path string, count int) ([][]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	entries := make([][]byte, count)
	for place := range entries {
		if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
			return nil, fmt.Errorf("%s ends before its entry %d", path, place)
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		entries[place], data = data[2:end], data[end:]
	}
	if len(data) > 0 {
		return nil, fmt.Errorf("%s goes on after its last entry", path)
	}
	return entries, nil
}

// Reads the hash tiles of a folder; what they hold is for the package to prove.
type tiles struct{ folder string }

func (t tiles) Height() int { return height }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(wanted))
	for place, tile := range wanted {
		var err error
		if data[place], err = os.ReadFile(pathOf(t.folder, tile)); err != nil {
			return nil, err
		}
	}
	return data, nil
}

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// Go has the tile's height in the path, and another name for the bundles of entries.
func pathOf(folder string, tile tlog.Tile) string {
	path := strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)
	return filepath.Join(folder, strings.Replace(path, "tile/8/", "tile/", 1))
}
