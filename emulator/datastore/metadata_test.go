package datastore_test

import (
	"fmt"
	"slices"
	"testing"

	ds "cloud.google.com/go/datastore"
)

// TestMetadataQueries: as Google's documentation has them for its Go client.
func TestMetadataQueries(t *testing.T) {
	c := start(t, nil).client()
	ctx := t.Context()
	task := func(namespace string, id int64, p ...ds.Property) {
		k := ds.IDKey("Task", id, nil)
		k.Namespace = namespace
		list := ds.PropertyList(p)
		if _, err := c.Put(ctx, k, &list); err != nil {
			t.Fatal(err)
		}
	}
	task("", 1, ds.Property{Name: "name", Value: "Read some properties"}, ds.Property{Name: "done", Value: true}, ds.Property{Name: "unindexed", Value: 1.5, NoIndex: true})
	task("", 2, ds.Property{Name: "name", Value: "Climb"}, ds.Property{Name: "done", Value: nil})
	task("ga", 1)
	task("h", 1)

	keys, err := c.GetAll(ctx, ds.NewQuery("__namespace__").
		FilterField("__key__", ">=", ds.NameKey("__namespace__", "g", nil)).
		FilterField("__key__", "<", ds.NameKey("__namespace__", "h", nil)).KeysOnly(), nil)
	if err != nil || len(keys) != 1 || keys[0].Name != "ga" {
		t.Errorf("namespaces from g to h: %v, %v", keys, err)
	}
	keys, err = c.GetAll(ctx, ds.NewQuery("__kind__").KeysOnly(), nil)
	if err != nil || len(keys) != 1 || keys[0].Name != "Task" {
		t.Errorf("kinds: %v, %v", keys, err)
	}
	var props []struct {
		Repr []string `datastore:"property_representation"`
	}
	keys, err = c.GetAll(ctx, ds.NewQuery("__property__").Ancestor(ds.NameKey("__kind__", "Task", nil)), &props)
	if err != nil || len(keys) != 2 || keys[0].Name != "done" || keys[1].Name != "name" || keys[0].Parent.Name != "Task" {
		t.Fatalf("properties: %v, %v", keys, err)
	}
	if !slices.Equal(props[0].Repr, []string{"BOOLEAN", "NULL"}) || !slices.Equal(props[1].Repr, []string{"STRING"}) {
		t.Errorf("representations: %v", props)
	}

	// A kind whose last entity goes is gone.
	elsewhere := ds.IDKey("Task", 1, nil)
	elsewhere.Namespace = "ga"
	if err := c.Delete(ctx, elsewhere); err != nil {
		t.Fatal(err)
	}
	if keys, err := c.GetAll(ctx, ds.NewQuery("__kind__").Namespace("ga").KeysOnly(), nil); err != nil || len(keys) != 0 {
		t.Errorf("kinds of an empty namespace: %v, %v", keys, err)
	}
}

// TestMetadataInBatches: what comes and goes between two batches changes what is
// behind it only.
func TestMetadataInBatches(t *testing.T) {
	c := start(t, nil).client()
	ctx := t.Context()
	const n = 700
	keys := make([]*ds.Key, n)
	for i := range keys {
		keys[i] = ds.IDKey(fmt.Sprintf("K%03d", i), 1, nil)
	}
	if _, err := c.PutMulti(ctx, keys[:n-1], make([]counter, n-1)); err != nil {
		t.Fatal(err)
	}
	it := c.Run(ctx, ds.NewQuery("__kind__"))
	for i := range n {
		if i == 1 { // within the first batch
			if _, err := c.Put(ctx, keys[n-1], &counter{}); err != nil {
				t.Fatal(err)
			}
		}
		if k, err := it.Next(&struct{}{}); err != nil || k.Name != keys[i].Kind {
			t.Fatalf("kind %d: %v, %v", i, k, err)
		}
	}
	if k, err := it.Next(&struct{}{}); err == nil {
		t.Errorf("one more kind: %v", k)
	}
	// Nothing has changed since: the rest comes from what was found before.
	if all, err := c.GetAll(ctx, ds.NewQuery("__kind__").KeysOnly(), nil); err != nil || len(all) != n {
		t.Errorf("%d kinds, %v; want %d", len(all), err, n)
	}
	if _, err := c.Put(ctx, ds.IDKey("L", 1, nil), &counter{}); err != nil {
		t.Fatal(err)
	}
	if all, err := c.GetAll(ctx, ds.NewQuery("__kind__").KeysOnly(), nil); err != nil || len(all) != n+1 {
		t.Errorf("%d kinds, %v; want %d", len(all), err, n+1)
	}
}
