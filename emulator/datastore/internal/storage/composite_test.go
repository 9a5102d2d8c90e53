package storage

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/google/go-cmp/cmp"
	"github.com/latchwork/latchwork/emulator/datastore/internal/indexes"
	"pgregory.net/rapid"
)

// indexed lists the rows of a state's composite indexes and what they lead to,
// as entity rows and versions.
func indexed(v View) map[string]string {
	all := map[string]string{}
	for _, c := range v.composites.all {
		prefix := c.Definition.Key()
		for _, r := range c.tree.all() {
			all[fmt.Sprintf("%s %x", prefix, r.Head[5:])] = fmt.Sprint(r.Entity.Key(), r.Entity.Version)
		}
	}
	return all
}

// anew is the rows that the indexes of a state would have if they were built now.
func anew(t *rapid.T, v View) map[string]string {
	fresh := tables{tree: v.tree, repeats: v.repeats}
	for _, c := range v.composites.all {
		own := &Composite{Definition: c.Definition, Form: c.Form, tree: newTree()}
		if err := fresh.build(own); err != nil {
			t.Fatal(err)
		}
		if own.repeats != c.repeats {
			t.Fatalf("%s has %d entities with several rows; counted %d", c.Definition.Key(), own.repeats, c.repeats)
		}
		fresh.composites.all = append(fresh.composites.all, own)
	}
	return indexed(View{tables: fresh})
}

func drawDefinition(t *rapid.T) indexes.Definition {
	d := indexes.Definition{Kind: rapid.SampledFrom([]string{"K", "L"}).Draw(t, "kind"), Ancestor: rapid.Bool().Draw(t, "ancestor")}
	for _, name := range rapid.Permutation([]string{"a", "b", "__key__"}).Draw(t, "names")[:rapid.IntRange(1, 3).Draw(t, "n")] {
		d.Properties = append(d.Properties, indexes.Property{Name: name, Desc: rapid.Bool().Draw(t, "desc")})
	}
	return d
}

func drawEntity(t *rapid.T) *pb.Entity {
	element := func(kind string) *pb.Key_PathElement {
		return &pb.Key_PathElement{Kind: kind, IdType: &pb.Key_PathElement_Id{Id: int64(rapid.IntRange(1, 3).Draw(t, "id"))}}
	}
	e := &pb.Entity{Key: &pb.Key{PartitionId: &pb.PartitionId{ProjectId: "p", NamespaceId: rapid.SampledFrom([]string{"", "n"}).Draw(t, "namespace")}},
		Properties: map[string]*pb.Value{}}
	if rapid.Bool().Draw(t, "child") {
		e.Key.Path = append(e.Key.Path, element("K"))
	}
	e.Key.Path = append(e.Key.Path, element(rapid.SampledFrom([]string{"K", "L", "L\x00"}).Draw(t, "kind")))
	for _, name := range []string{"a", "b", "a\x00"} {
		var values []*pb.Value
		for range rapid.IntRange(0, 2).Draw(t, "values") {
			values = append(values, &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: int64(rapid.IntRange(0, 2).Draw(t, "value"))}})
		}
		e.Properties[name] = &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: &pb.ArrayValue{Values: values}}}
	}
	return e
}

// TestIndexesFollowEntities: whatever happens to entities and definitions, the
// indexes have the rows that building them anew gives, past states keep theirs,
// and the repeated properties are those that are.
func TestIndexesFollowEntities(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := Open(nil)
		if err != nil {
			t.Fatal(err)
		}
		db := s.DB(ID{Project: "p"})
		set := indexes.NewSet()
		var past View
		var pastRows map[string]string
		check := func(*rapid.T) {
			db.Read(func(v View) {
				if diff := cmp.Diff(anew(t, v), indexed(v)); diff != "" {
					t.Fatalf("rows (-anew +kept):\n%s", diff)
				}
				if got := len(v.composites.all); got != set.Len() {
					t.Fatalf("%d indexes; want %d", got, set.Len())
				}
				repeated := newRepeats()
				for key := range rows(v) {
					if strings.HasPrefix(key, "E") {
						repeated.add(v.Get(key), 1)
					}
				}
				if want, got := repeated.tree.Items(), v.repeats.tree.Items(); !slices.Equal(want, got) {
					t.Fatalf("repeated properties %v; want %v", got, want)
				}
			})
			if pastRows != nil {
				if diff := cmp.Diff(pastRows, indexed(past)); diff != "" {
					t.Fatalf("a past state changed (-was +is):\n%s", diff)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"": check,
			"put": func(t *rapid.T) {
				e, err := NewEntity(drawEntity(t))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := db.Commit([]Mutation{{Op: Upsert, Key: e.Key(), Entity: e}}); err != nil {
					t.Fatal(err)
				}
			},
			"delete": func(t *rapid.T) {
				e, err := NewEntity(drawEntity(t))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := db.Commit([]Mutation{{Op: Delete, Key: e.Key()}}); err != nil {
					t.Fatal(err)
				}
			},
			"define": func(t *rapid.T) {
				set = set.With(drawDefinition(t))
				s.SetIndexes(set)
			},
			"drop": func(t *rapid.T) {
				if all := set.All(); len(all) > 0 {
					set = set.Without(all[0])
					s.SetIndexes(set)
				}
			},
			"snapshot": func(t *rapid.T) {
				past = db.Snapshot()
				pastRows = indexed(past)
			},
			"reset": func(t *rapid.T) {
				if _, err := db.Reset(); err != nil {
					t.Fatal(err)
				}
			},
		})
	})
}

// many is an entity with n values in each of the properties a and b.
func many(t *testing.T, n int) *Entity {
	t.Helper()
	m := entity("many", 1)
	for _, name := range []string{"a", "b"} {
		var values []*pb.Value
		for i := range n {
			values = append(values, &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: int64(i)}})
		}
		m.Properties[name] = &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: &pb.ArrayValue{Values: values}}}
	}
	e, err := NewEntity(m)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestSizeOfEntries: an index knows how many rows an entity has, and of what size,
// without making them.
func TestSizeOfEntries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e, err := NewEntity(drawEntity(t))
		if err != nil {
			t.Fatal(err)
		}
		form := newForm(drawDefinition(t), 1)
		rows := form.Rows(nil, e.rows)
		want := 0
		for _, row := range rows {
			want += len(row)
		}
		if n, size := form.Size(e.rows); n != len(rows) || size != want {
			t.Fatalf("%d rows of %d bytes; there are %d of %d", n, size, len(rows), want)
		}
	})
}

// TestTooLargeEntries: few entries may be too large together.
func TestTooLargeEntries(t *testing.T) {
	s, err := Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.SetIndexes(indexes.NewSet(indexes.Definition{Kind: "K", Properties: []indexes.Property{{Name: "a"}, {Name: "b"}}}))
	put := func(n int) error {
		e := &pb.Entity{Key: &pb.Key{PartitionId: &pb.PartitionId{ProjectId: "p"},
			Path: []*pb.Key_PathElement{{Kind: "K", IdType: &pb.Key_PathElement_Id{Id: 1}}}}, Properties: map[string]*pb.Value{}}
		for _, name := range []string{"a", "b"} {
			list := &pb.ArrayValue{}
			for i := range n {
				list.Values = append(list.Values, &pb.Value{ValueType: &pb.Value_StringValue{StringValue: fmt.Sprintf("%01400d", i)}})
			}
			e.Properties[name] = &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: list}}
		}
		stored, err := NewEntity(e)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.DB(ID{Project: "p"}).Commit([]Mutation{{Op: Upsert, Key: stored.Key(), Entity: stored}})
		return err
	}
	if err := put(27); err != nil {
		t.Errorf("729 entries of 2.8 kB: %v", err)
	}
	err = put(28)
	if _, ok := errors.AsType[*TooManyEntriesError](err); !ok || !strings.Contains(err.Error(), "2097152") {
		t.Errorf("784 entries of 2.8 kB: %v", err)
	}
}

// TestTooManyEntries: what an index can't take is refused when it is written,
// and where it is already there, the index is left out.
func TestTooManyEntries(t *testing.T) {
	var log bytes.Buffer
	s, err := Open(&Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	set := indexes.NewSet(indexes.Definition{Kind: "K", Properties: []indexes.Property{{Name: "a"}, {Name: "b"}}})
	s.SetIndexes(set)
	db := s.DB(ID{Project: "p"})
	put := func(e *Entity) error {
		_, err := db.Commit([]Mutation{upsert(t, "other", 1), {Op: Upsert, Key: e.Key(), Entity: e}})
		return err
	}
	err = put(many(t, 150))
	if _, ok := errors.AsType[*TooManyEntriesError](err); !ok || !strings.Contains(err.Error(), "20000") || !strings.Contains(err.Error(), "a, b") {
		t.Errorf("22,500 entries: %v", err)
	}
	db.Read(func(v View) {
		if n := len(rows(v)); n != 0 {
			t.Errorf("%d rows after a refused commit", n)
		}
	})
	if err := put(many(t, 140)); err != nil {
		t.Errorf("19,600 entries, and 280 of properties: %v", err)
	}
	if err := put(many(t, 141)); err == nil {
		t.Error("19,881 entries, and 282 of properties, were accepted")
	}
	other := indexes.Definition{Kind: "K", Properties: []indexes.Property{{Name: "b"}, {Name: "a"}}}
	s.SetIndexes(set.With(other))
	if err := put(many(t, 110)); err == nil {
		t.Error("12,100 entries in each of two indexes were accepted")
	}
	if err := put(many(t, 95)); err != nil {
		t.Errorf("9,025 entries in each of two indexes: %v", err)
	}
	s.SetIndexes(nil)
	if err := put(many(t, 150)); err != nil {
		t.Errorf("without the index: %v", err)
	}
	s.SetIndexes(set)
	db.Read(func(v View) {
		if len(v.Composites("K")) != 0 {
			t.Error("the index was built")
		}
	})
	if !strings.Contains(log.String(), "queries sort instead") {
		t.Errorf("the log says %q", log.String())
	}
}

// TestRowsOfDroppedIndexes: those who hold intervals of an index that is gone
// still see what would be in them.
func TestRowsOfDroppedIndexes(t *testing.T) {
	s, err := Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.SetIndexes(indexes.NewSet(indexes.Definition{Kind: "K", Properties: []indexes.Property{{Name: "n"}, {Name: "half"}}}))
	db := s.DB(ID{Project: "p"})
	m := upsert(t, "x", 7)
	all := func() (all []string) {
		db.Read(func(v View) { all = slices.Collect(v.RowsOf(m.Entity)) })
		return all
	}
	before := all()
	row := before[len(before)-1]
	db.Read(func(v View) {
		if !v.Keeps(row) {
			t.Error("the index has no rows")
		}
	})
	s.SetIndexes(nil)
	if after := all(); !slices.Equal(before, after) {
		t.Errorf("rows %q; want %q", after, before)
	}
	db.Read(func(v View) {
		if v.Keeps(row) || v.Count(row, row+"\xff") != 0 || v.Walk(row) != nil {
			t.Error("the dropped index has rows")
		}
	})
}

// TestIndexesAfterRestart: an index is built of what the journal brings back.
func TestIndexesAfterRestart(t *testing.T) {
	dir := t.TempDir()
	set := indexes.NewSet(indexes.Definition{Kind: "K", Properties: []indexes.Property{{Name: "n"}, {Name: "half", Desc: true}}})
	var want map[string]string
	for run := range 2 {
		s, err := Open(&Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		s.SetIndexes(set)
		db := s.DB(ID{Project: "p"})
		if run == 0 {
			if _, err := db.Commit([]Mutation{upsert(t, "x", 1), upsert(t, "y", 2)}); err != nil {
				t.Fatal(err)
			}
		}
		var got map[string]string
		db.Read(func(v View) { got = indexed(v) })
		if run == 0 {
			want = got
		} else if diff := cmp.Diff(want, got); diff != "" || len(got) != 2 {
			t.Errorf("after a restart (-want +got):\n%s", diff)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
