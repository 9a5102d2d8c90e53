package encoding

import (
	"bytes"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/protobuf/proto"
)

// FuzzWire: the wire form is proto's own, whatever the entity.
func FuzzWire(f *testing.F) {
	options := proto.MarshalOptions{Deterministic: true}
	add := func(e *pb.Entity) {
		b, err := options.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	add(every())
	add(&pb.Entity{})
	for name, v := range every().Properties {
		v.Meaning = 15
		add(&pb.Entity{Key: every().Key, Properties: map[string]*pb.Value{name: v, "nothing": nil, "no type": {}}})
	}
	var w Wire
	f.Fuzz(func(t *testing.T, wire []byte) {
		var e pb.Entity
		if proto.Unmarshal(wire, &e) != nil {
			return
		}
		want, err := options.Marshal(&e)
		if err != nil {
			return
		}
		w.Measure(&e)
		got, err := w.Append([]byte("before"))
		if err != nil || !bytes.Equal(got, append([]byte("before"), want...)) || w.Size() != len(want) {
			t.Fatalf("%v\n%x of %d bytes, %v; want\n%x", &e, got, w.Size(), err, want)
		}
	})
}
