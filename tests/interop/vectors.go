// Says what Go's checksum database makes of our test vectors (tests/vectors/README.md): a JSON object
// by format and name, with what a vector holds, or null where it is refused. What Go has no reader
// for is left out.
//
//	vectors FOLDER
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

type given struct {
	Kind    string
	VKeys   []string
	Count   int64
	Index   int64
	Size    int64
	Leaf    string
	Root    string
	OldSize int64  `json:"old_size"`
	OldRoot string `json:"old_root"`
	NewSize int64  `json:"new_size"`
	NewRoot string `json:"new_root"`
}

type file struct {
	Given   json.RawMessage
	Vectors []struct {
		Name  string
		Given json.RawMessage
		Bytes []byte
	}
}

type answer map[string]interface{}

// What a format's reader gives; errSkipped where Go knows no such thing.
var readers = map[string]func(given, []byte) (answer, error){
	"key":         readKey,
	"note":        readNote,
	"tree":        readTree,
	"inclusion":   readInclusion,
	"consistency": readConsistency,
}

var errSkipped = errors.New("this is nothing that Go reads")

func main() {
	answers := map[string]map[string]answer{}
	for format, read := range readers {
		answers[format] = map[string]answer{}
		if err := readAll(os.Args[1], format, read, answers[format]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	json.NewEncoder(os.Stdout).Encode(answers)
}

func readAll(
	folder, format string, read func(given, []byte) (answer, error), answers map[string]answer,
) error {
	data, err := os.ReadFile(filepath.Join(folder, format+".json"))
	if err != nil {
		return err
	}
	var all file
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	for _, vector := range all.Vectors {
		var known given
		// What a vector gives goes before what its file gives.
		for _, fields := range []json.RawMessage{all.Given, vector.Given} {
			if fields == nil {
				continue
			}
			if err := json.Unmarshal(fields, &known); err != nil {
				return err
			}
		}
		found, err := read(known, vector.Bytes)
		if err == errSkipped {
			continue
		}
		if err != nil {
			found = nil
		}
		answers[vector.Name] = found
	}
	return nil
}

func readKey(known given, data []byte) (answer, error) {
	if known.Kind != "log" {
		return nil, errSkipped
	}
	key, err := note.NewVerifier(string(data))
	if err != nil {
		return nil, err
	}
	return answer{"name": key.Name(), "id": fmt.Sprintf("%08x", key.KeyHash())}, nil
}

func readNote(known given, data []byte) (answer, error) {
	var keys []note.Verifier
	for _, vkey := range known.VKeys {
		key, err := note.NewVerifier(vkey)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	found, err := note.Open(data, note.VerifierList(keys...))
	if err != nil {
		return nil, err
	}
	var signers []string
	for _, signature := range found.Sigs {
		signers = append(signers, fmt.Sprintf("%s+%08x", signature.Name, signature.Hash))
	}
	return answer{"text": found.Text, "signers": signers}, nil
}

func readTree(known given, data []byte) (answer, error) {
	entries, err := split(data, known.Count)
	if err != nil {
		return nil, err
	}
	var stored hashes
	leaves := []string{}
	for number, entry := range entries {
		added, err := tlog.StoredHashes(int64(number), entry, &stored)
		if err != nil {
			return nil, err
		}
		stored = append(stored, added...)
		leaves = append(leaves, hexOf(tlog.RecordHash(entry)))
	}
	root, err := tlog.TreeHash(known.Count, &stored)
	if err != nil {
		return nil, err
	}
	files, err := filesOf(entries, &stored)
	return answer{"root": hexOf(root), "leaves": leaves, "files": files}, err
}

func filesOf(entries [][]byte, stored *hashes) (map[string]string, error) {
	files := map[string]string{}
	for _, tile := range tilesOf(int64(len(entries))) {
		data, err := tlog.ReadTileData(tile, stored)
		if err != nil {
			return nil, err
		}
		files[pathOf(tile)] = digest(data)
		if tile.L > 0 {
			continue
		}
		tile.L = -1 // the entries below the same hashes
		first := int(tile.N) << height
		files[pathOf(tile)] = digest(join(entries[first : first+tile.W]))
	}
	return files, nil
}

// Go names a tile at each width that it ever had; a log has it at its last.
func tilesOf(size int64) map[[2]int64]tlog.Tile {
	last := map[[2]int64]tlog.Tile{}
	for _, tile := range tlog.NewTiles(height, 0, size) {
		place := [2]int64{int64(tile.L), tile.N}
		if tile.W > last[place].W {
			last[place] = tile
		}
	}
	return last
}

func readInclusion(known given, data []byte) (answer, error) {
	proof, texts, err := proofOf(data)
	if err != nil {
		return nil, err
	}
	leaf, root := hashOf(known.Leaf), hashOf(known.Root)
	err = tlog.CheckRecord(tlog.RecordProof(proof), known.Size, root, known.Index, leaf)
	return answer{"hashes": texts}, err
}

func readConsistency(known given, data []byte) (answer, error) {
	proof, texts, err := proofOf(data)
	if err != nil {
		return nil, err
	}
	older, newer := hashOf(known.OldRoot), hashOf(known.NewRoot)
	err = tlog.CheckTree(tlog.TreeProof(proof), known.NewSize, newer, known.OldSize, older)
	return answer{"hashes": texts}, err
}

// All hashes of a tree, in the order in which Go stores them.
type hashes []tlog.Hash

func (stored *hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for place, index := range indexes {
		found[place] = (*stored)[index]
	}
	return found, nil
}

func proofOf(data []byte) ([]tlog.Hash, []string, error) {
	if len(data)%tlog.HashSize != 0 {
		return nil, nil, errors.New("a hash is not whole")
	}
	proof, texts := []tlog.Hash{}, []string{}
	for ; len(data) > 0; data = data[tlog.HashSize:] {
		var hash tlog.Hash
		copy(hash[:], data)
		proof, texts = append(proof, hash), append(texts, hexOf(hash))
	}
	return proof, texts, nil
}

func split(data []byte, count int64) ([][]byte, error) {
	var entries [][]byte
	for number := int64(0); number < count; number++ {
		if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
			return nil, fmt.Errorf("the bundle ends before its entry %d", number)
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		entries, data = append(entries, data[2:end]), data[end:]
	}
	if len(data) > 0 {
		return nil, errors.New("the bundle goes on after its last entry")
	}
	return entries, nil
}

func join(entries [][]byte) []byte {
	var data []byte
	for _, entry := range entries {
		data = append(append(data, byte(len(entry)>>8), byte(len(entry))), entry...)
	}
	return data
}

func hashOf(text string) tlog.Hash {
	var hash tlog.Hash
	data, err := hex.DecodeString(text)
	if err != nil || copy(hash[:], data) != len(hash) {
		panic(text)
	}
	return hash
}

func hexOf(hash tlog.Hash) string { return hex.EncodeToString(hash[:]) }

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Go has the tile's height in the path, and another name for the bundles of entries.
func pathOf(tile tlog.Tile) string {
	path := strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)
	return strings.Replace(path, "tile/8/", "tile/", 1)
}
