package export

import (
	"bytes"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
)

func openRoot(t *testing.T) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

// world is a few entities of two namespaces, in order of their keys.
func world() []*pb.Entity {
	var all []*pb.Entity
	for _, ns := range []string{"", "a.b"} {
		for _, kind := range []string{"A", "B/..\\:", strings.Repeat("long", 300)} {
			for id := 1; id <= 3; id++ {
				e := everything()
				e.Key = key("p", ns, kind, id)
				all = append(all, e)
			}
		}
	}
	return all
}

// source is the Source of some entities.
func source(all []*pb.Entity) Source {
	return func(s Scope) iter.Seq2[*pb.Entity, error] {
		return func(yield func(*pb.Entity, error) bool) {
			for _, e := range all {
				kind := e.Key.Path[len(e.Key.Path)-1].Kind
				if (s.AllKinds || s.Kind == kind) && (s.AllNamespaces || s.Namespace == e.Key.PartitionId.NamespaceId) && !yield(e, nil) {
					return
				}
			}
		}
	}
}

// readAll reads an export to its end, or to the first error.
func readAll(x *Export, parts []Part) (all []*pb.Entity, err error) {
	for _, p := range parts {
		for e, err := range x.Entities(p, "p", "") {
			if err != nil {
				return all, err
			}
			all = append(all, e)
		}
	}
	return all, nil
}

func TestFilters(t *testing.T) {
	root := openRoot(t)
	all := world()
	long := all[6].Key.Path[0].Kind
	for i, c := range []struct {
		filter   Filter
		parts    []string
		entities int
	}{
		{Filter{}, []string{"all kinds, all namespaces"}, 18},
		{Filter{Kinds: []string{"A", "none"}}, []string{`kind "A", all namespaces`, `kind "none", all namespaces`}, 6},
		{Filter{Namespaces: []string{""}}, []string{`all kinds, namespace ""`}, 9},
		{Filter{Kinds: []string{"B/..\\:", long}, Namespaces: []string{"a.b", ""}},
			[]string{`kind "B/..\\:", namespace "a.b"`, `kind "B/..\\:", namespace ""`, `kind "` + long + `", namespace "a.b"`, `kind "` + long + `", namespace ""`}, 12},
	} {
		dir := "x" + string(rune('0'+i)) + "/deep"
		file, written, err := Write(root, dir, "deep", c.filter, source(all))
		if err != nil || file != dir+"/deep"+OverallSuffix {
			t.Fatalf("%v: %q, %v", c.filter, file, err)
		}
		x, err := Open(root, file)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for i, p := range x.Parts {
			names = append(names, p.String())
			if p.Entities != written[i].Entities || p.Bytes != written[i].Bytes || p.Scope != written[i].Scope {
				t.Errorf("wrote %+v, read %+v", written[i], p)
			}
		}
		got, err := readAll(x, x.Parts)
		if err != nil || len(got) != c.entities || !slices.Equal(names, c.parts) {
			t.Errorf("%v: %d entities in %q, %v; want %d in %q", c.filter, len(got), names, err, c.entities, c.parts)
		}
		var want []*pb.Entity
		for _, s := range c.filter.Scopes() {
			for e := range source(all)(s) {
				want = append(want, e)
			}
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%v (-written +read):\n%s", c.filter, diff)
		}
	}
	if _, _, err := Write(root, "x0/deep", "deep", Filter{}, source(all)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over an export that is there: %v", err)
	}
	if _, err := Open(root, "x0/deep/deep"+OverallSuffix); err != nil {
		t.Errorf("the export that was there: %v", err)
	}
}

func TestSelect(t *testing.T) {
	part := func(kind, namespace string) Part {
		p := Part{Scope: Scope{Kind: kind, AllKinds: kind == "", Namespace: namespace, AllNamespaces: namespace == "*"}, file: kind + "/" + namespace}
		if p.AllNamespaces {
			p.Namespace = ""
		}
		return p
	}
	for _, c := range []struct {
		parts  []Part
		filter Filter
		want   int // -1: refused
	}{
		{[]Part{part("", "*")}, Filter{}, 1},
		{[]Part{part("", "*")}, Filter{Kinds: []string{"A"}}, -1},
		{[]Part{part("", "*")}, Filter{Namespaces: []string{""}}, -1},
		{[]Part{part("A", "*"), part("B", "*")}, Filter{Kinds: []string{"B"}}, 1},
		{[]Part{part("A", "*"), part("B", "*")}, Filter{Kinds: []string{"B", "C"}}, -1},
		{[]Part{part("A", "*")}, Filter{Kinds: []string{"A"}, Namespaces: []string{"n"}}, -1},
		{[]Part{part("A", "n"), part("A", ""), part("B", "n"), part("B", "")}, Filter{Namespaces: []string{"n"}}, 2},
		{[]Part{part("A", "n"), part("A", ""), part("B", "n"), part("B", "")}, Filter{Kinds: []string{"A"}}, 2},
		{[]Part{part("A", "n"), part("A", ""), part("B", "n"), part("B", "")}, Filter{Kinds: []string{"A", "B"}, Namespaces: []string{"", "n"}}, 4},
	} {
		got, err := (&Export{Parts: c.parts}).Select(c.filter)
		_, missing := errors.AsType[*MissingPartError](err)
		if missing != (c.want < 0) || !missing && len(got) != c.want {
			t.Errorf("%v of %v: %v, %v; want %d", c.filter, c.parts, got, err, c.want)
		}
	}
}

// TestNothingIsLeft: an export that fails removes what it has written.
func TestNothingIsLeft(t *testing.T) {
	root := openRoot(t)
	broken := errors.New("broken")
	_, _, err := Write(root, "a/b", "b", Filter{}, func(Scope) iter.Seq2[*pb.Entity, error] {
		return func(yield func(*pb.Entity, error) bool) {
			_ = yield(world()[0], nil) && yield(nil, broken)
		}
	})
	if !errors.Is(err, broken) {
		t.Errorf("%v; want %v", err, broken)
	}
	if _, err := root.Stat("a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was written: %v", err)
	}
}

// TestDamagedExports: each file, damaged or missing, is named; what is read
// before the damage is right.
func TestDamagedExports(t *testing.T) {
	root := openRoot(t)
	all := world()
	file, _, err := Write(root, "x", "x", Filter{}, source(all))
	if err != nil {
		t.Fatal(err)
	}
	const part, output = "all_namespaces/all_kinds/all_namespaces_all_kinds.export_metadata", "all_namespaces/all_kinds/output-0"
	read := func() ([]*pb.Entity, error) {
		x, err := Open(root, file)
		if err != nil {
			return nil, err
		}
		return readAll(x, x.Parts)
	}
	for _, c := range []struct {
		file   string
		damage func([]byte) []byte
		offset int64 // -1: any
		says   string
	}{
		{"x" + OverallSuffix, func(b []byte) []byte { return b[:0] }, 0, "no record"},
		{"x" + OverallSuffix, func(b []byte) []byte { b[7] = '4'; return b }, 0, "checksum"},
		{"x" + OverallSuffix, func([]byte) []byte { return writeLog(t, []byte("4")) }, 0, `version "4"`},
		{"x" + OverallSuffix, func(b []byte) []byte { b[20] ^= 1; return b }, 8, "checksum"},
		{"x" + OverallSuffix, func([]byte) []byte { return writeLog(t, []byte("3"), []byte("\x0a\x04\x0a\x02\x08\x07")) }, 8, "type 7"},
		{part, func(b []byte) []byte { return b[:len(b)-1] }, 0, "EOF"},
		{output, func(b []byte) []byte { return b[:len(b)-1] }, -1, "within a record"},
		{output, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, -1, "checksum"},
		{output, func(b []byte) []byte { return writeLog(t, []byte("junk")) }, 0, "key: "},
		{output, func(b []byte) []byte { return b[:0] }, 0, "0 entities where the metadata says 18"},
		{output, func(b []byte) []byte { return append(b, b[:blockSize]...) }, -1, ""},
	} {
		name := filepath.Join(root.Name(), "x", c.file)
		good, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, c.damage(bytes.Clone(good)), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := read()
		damage, ok := errors.AsType[*DamageError](err)
		if !ok || !strings.Contains(err.Error(), c.says) || c.offset >= 0 && damage.Offset != c.offset {
			t.Errorf("%s: %v; want one that says %q at %d", c.file, err, c.says, c.offset)
		} else if damage.File != c.file && damage.File != part {
			t.Errorf("%s is damaged; named is %s", c.file, damage.File)
		}
		n := min(len(all), len(got))
		if diff := cmp.Diff(all[:n], got[:n], protocmp.Transform()); n > 0 && diff != "" {
			t.Errorf("%s: before the damage (-written +read):\n%s", c.file, diff)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if _, err := read(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is missing: %v", c.file, err)
		}
		if err := os.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := read(); err == nil || !strings.Contains(err.Error(), "not a file") {
			t.Errorf("%s is a folder: %v", c.file, err)
		}
		if err := errors.Join(os.Remove(name), os.WriteFile(name, good, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := read(); err != nil || len(got) != len(all) {
		t.Errorf("the export, whole again: %d entities, %v", len(got), err)
	}
}

// TestMetadataLeadsNowhereElse: paths in metadata stay below the root.
func TestMetadataLeadsNowhereElse(t *testing.T) {
	root := openRoot(t)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{outside, "../" + filepath.Base(filepath.Dir(outside)) + "/outside", "../../../../../../../etc/hostname"} {
		p := Part{Scope: Scope{AllKinds: true, AllNamespaces: true}, file: place}
		if err := root.WriteFile("o", writeLog(t, []byte(formatVersion), appendOverall(nil, &p)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(root, "o"); err == nil {
			t.Errorf("%s was opened", place)
		}
	}
}
