// Lineage reads a limen log with other people's code: golang.org/x/mod/sumdb/note and tlog, the Go checksum database's own.
//
//	lineage log DIR VKEY [COSIGNER...]             opens the checkpoint, then reads every tile and every entry
//	lineage proof FILE ENTRY VKEY [COSIGNER...]    checks a c2sp.org/tlog-proof@v1 file
//	lineage continues FILE OLD VKEY [COSIGNER...]  checks a consistency proof, in the form of tlog-witness add-checkpoint
//
// Every COSIGNER (a vkey of type 0x04) must have cosigned. Exit code 0 and one line on standard output if all holds; else 1
// and the reason on standard error. Ours is only what the Go packages do not have: C2SP's paths, texts and cosignatures.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
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
	said, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "lineage:", err)
		os.Exit(1)
	}
	fmt.Println(said)
}

func run(words []string) (string, error) {
	switch {
	case len(words) >= 3 && words[0] == "log":
		return readLog(words[1], words[2], words[3:])
	case len(words) >= 4 && words[0] == "proof":
		return checkProof(words[1], words[2], words[3], words[4:])
	case len(words) >= 4 && words[0] == "continues":
		return checkContinues(words[1], words[2], words[3], words[4:])
	}
	return "", errors.New("usage: lineage log|proof|continues …")
}

// open returns the tree of a checkpoint that the log and all cosigners have signed.
func open(raw []byte, vkey string, cosigners []string) (tlog.Tree, error) {
	log, err := note.NewVerifier(vkey)
	if err != nil {
		return tlog.Tree{}, err
	}
	known := []note.Verifier{log}
	for _, text := range cosigners {
		key, err := newCosigner(text)
		if err != nil {
			return tlog.Tree{}, err
		}
		known = append(known, key)
	}
	opened, err := note.Open(raw, note.VerifierList(known...))
	if err != nil {
		return tlog.Tree{}, err
	}
	if len(opened.Sigs) != len(known) {
		return tlog.Tree{}, fmt.Errorf("%d of %d expected signatures", len(opened.Sigs), len(known))
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != log.Name() || lines[3] != "" {
		return tlog.Tree{}, errors.New("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || strconv.FormatInt(size, 10) != lines[1] || size < 0 {
		return tlog.Tree{}, errors.New("not a size")
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

// cosigner is a note.Verifier for Ed25519 cosignatures (C2SP tlog-cosignature, 0x04).
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func newCosigner(vkey string) (*cosigner, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("not a vkey")
	}
	raw, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(raw) != 1+ed25519.PublicKeySize || raw[0] != 4 {
		return nil, errors.New("not an Ed25519 cosigner's key")
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), raw...))
	return &cosigner{parts[0], binary.BigEndian.Uint32(sum[:]), ed25519.PublicKey(raw[1:])}, nil
}

func (c *cosigner) Name() string    { return c.name }
func (c *cosigner) KeyHash() uint32 { return c.hash }
func (c *cosigner) Verify(text, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(sig), text)
	return ed25519.Verify(c.key, []byte(message), sig[8:])
}

// tiles reads a directory's tiles, and counts those that it was asked for.
type tiles struct {
	dir  string
	read map[string]bool
}

func (t *tiles) Height() int                     { return height }
func (t *tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (t *tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	found := make([][]byte, len(wanted))
	for i, tile := range wanted {
		// C2SP's paths are Go's without the height: it is always 8.
		path := "tile/" + strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", height))
		raw, err := os.ReadFile(filepath.Join(t.dir, path))
		if err != nil {
			return nil, err
		}
		if len(raw) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%s has %d bytes", path, len(raw))
		}
		t.read[path] = true
		found[i] = raw
	}
	return found, nil
}

// readLog reads every hash of every tile through TileHashReader, which leads each to the root, and every entry. Before x/mod
// 0.40.0 that reader passes some tiles without asking their parents (CVE-2026-56865), so checkParent asks for each again.
func readLog(dir, vkey string, cosigners []string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return "", err
	}
	tree, err := open(raw, vkey, cosigners)
	if err != nil {
		return "", err
	}
	from := &tiles{dir, map[string]bool{}}
	reader := tlog.TileHashReader(tree, from)
	if tree.N > 0 {
		if root, err := tlog.TreeHash(tree.N, reader); err != nil || root != tree.Hash {
			return "", fmt.Errorf("the tiles do not make the root: %v", err)
		}
	}
	entries := int64(0)
	for level := 0; tree.N>>(height*level) > 0; level++ {
		count := tree.N >> (height * level)
		for start := int64(0); start < count; start += 1 << height {
			end := start + 1<<height
			if end > count {
				end = count
			}
			var indexes []int64
			for i := start; i < end; i++ {
				indexes = append(indexes, tlog.StoredHashIndex(height*level, i))
			}
			hashes, err := reader.ReadHashes(indexes)
			if err != nil {
				return "", err
			}
			if end-start == 1<<height {
				if err := checkParent(from, tree.N, level, start>>height); err != nil {
					return "", err
				}
			}
			if level == 0 {
				if err := checkBundle(dir, start, hashes); err != nil {
					return "", err
				}
				entries += end - start
			}
		}
	}
	return fmt.Sprintf("size %d, %d tiles, %d entries", tree.N, len(from.read), entries), nil
}

// checkParent compares the root of a full tile with its hash in the tile above.
func checkParent(from *tiles, size int64, level int, number int64) error {
	index := tlog.StoredHashIndex(height*(level+1), number)
	above := tlog.TileForIndex(height, index)
	width := size>>(height*(level+1)) - above.N<<height
	if width > 1<<height {
		width = 1 << height
	}
	above.W = int(width)
	tile := tlog.Tile{H: height, L: level, N: number, W: 1 << height}
	raw, err := from.ReadTiles([]tlog.Tile{tile, above})
	if err != nil {
		return err
	}
	var halves [2]tlog.Hash
	for i := range halves {
		if halves[i], err = tlog.HashFromTile(tile, raw[0], tlog.StoredHashIndex(height*level+height-1, 2*number+int64(i))); err != nil {
			return err
		}
	}
	root, err := tlog.HashFromTile(above, raw[1], index)
	if err != nil {
		return err
	}
	if root != tlog.NodeHash(halves[0], halves[1]) {
		return fmt.Errorf("%s does not fit the tile above", tile.Path())
	}
	return nil
}

// checkBundle compares the entries behind one level-0 tile with its verified hashes.
func checkBundle(dir string, start int64, hashes []tlog.Hash) error {
	tile := tlog.Tile{H: height, L: 0, N: start >> height, W: len(hashes)}
	path := "tile/entries/" + strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/0/", height))
	raw, err := os.ReadFile(filepath.Join(dir, path))
	if err != nil {
		return err
	}
	for i, hash := range hashes {
		if len(raw) < 2 || len(raw) < 2+int(binary.BigEndian.Uint16(raw)) {
			return fmt.Errorf("%s ends in entry %d", path, start+int64(i))
		}
		length := int(binary.BigEndian.Uint16(raw))
		if tlog.RecordHash(raw[2:2+length]) != hash {
			return fmt.Errorf("entry %d is not the one in the tree", start+int64(i))
		}
		raw = raw[2+length:]
	}
	if len(raw) > 0 {
		return fmt.Errorf("%s has %d bytes too many", path, len(raw))
	}
	return nil
}

// cut reads a proof's head, one line each, and the checkpoint after the first blank line.
func cut(path string) ([]string, []byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	at := bytes.Index(raw, []byte("\n\n"))
	if at < 0 {
		return nil, nil, errors.New("no blank line")
	}
	return strings.Split(string(raw[:at]), "\n"), raw[at+2:], nil
}

func hashes(lines []string) ([]tlog.Hash, error) {
	var found []tlog.Hash
	for _, line := range lines {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return nil, err
		}
		found = append(found, hash)
	}
	return found, nil
}

func number(lines []string, word string) (int64, []string, error) {
	if len(lines) == 0 || !strings.HasPrefix(lines[0], word+" ") {
		return 0, nil, fmt.Errorf("no line %q", word)
	}
	value, err := strconv.ParseInt(lines[0][len(word)+1:], 10, 64)
	return value, lines[1:], err
}

func checkProof(file, entry, vkey string, cosigners []string) (string, error) {
	lines, checkpoint, err := cut(file)
	if err != nil {
		return "", err
	}
	if lines[0] != "c2sp.org/tlog-proof@v1" {
		return "", errors.New("not a tlog-proof")
	}
	lines = lines[1:]
	if len(lines) > 0 && strings.HasPrefix(lines[0], "extra ") {
		lines = lines[1:]
	}
	index, lines, err := number(lines, "index")
	if err != nil {
		return "", err
	}
	path, err := hashes(lines)
	if err != nil {
		return "", err
	}
	raw, err := os.ReadFile(entry)
	if err != nil {
		return "", err
	}
	tree, err := open(checkpoint, vkey, cosigners)
	if err != nil {
		return "", err
	}
	err = tlog.CheckRecord(path, tree.N, tree.Hash, index, tlog.RecordHash(raw))
	return fmt.Sprintf("entry %d is in the tree of %d", index, tree.N), err
}

func checkContinues(file, oldFile, vkey string, cosigners []string) (string, error) {
	lines, checkpoint, err := cut(file)
	if err != nil {
		return "", err
	}
	size, lines, err := number(lines, "old")
	if err != nil {
		return "", err
	}
	path, err := hashes(lines)
	if err != nil {
		return "", err
	}
	raw, err := os.ReadFile(oldFile)
	if err != nil {
		return "", err
	}
	older, err := open(raw, vkey, nil)
	if err != nil {
		return "", err
	}
	newer, err := open(checkpoint, vkey, cosigners)
	if err != nil {
		return "", err
	}
	if size != older.N {
		return "", errors.New("of another size than the older checkpoint")
	}
	err = tlog.CheckTree(path, newer.N, newer.Hash, older.N, older.Hash)
	return fmt.Sprintf("%d continues %d", newer.N, older.N), err
}
