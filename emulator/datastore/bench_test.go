package datastore_test

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	ds "cloud.google.com/go/datastore"
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// overTCP is what a benchmark talks to: a server on a loopback port, as
// programs have it.
func overTCP(b *testing.B, o *datastore.Options) (*ds.Client, *datastore.Server) {
	b.Helper()
	s, err := datastore.New(o)
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	c, err := ds.NewClient(b.Context(), project, option.WithGRPCConn(conn))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close(); _ = s.Close() })
	return c, s
}

// row is an entity of the size that small programs have.
type row struct {
	Name   string
	Shard  int
	Parity string
	Size   float64
	Note   string `datastore:",noindex"`
}

func newRow(i int) *row {
	return &row{Name: fmt.Sprintf("name-%06d", i), Shard: i % 1000, Parity: []string{"even", "odd"}[i%2], Size: float64(i), Note: "some text that nobody searches for, as there is in most entities"}
}

func BenchmarkPut(b *testing.B) {
	for _, dir := range []string{"memory", "disk"} {
		for _, callers := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/callers=%d", dir, callers), func(b *testing.B) {
				o := &datastore.Options{}
				if dir == "disk" {
					o.Dir = b.TempDir()
				}
				c, _ := overTCP(b, o)
				var n atomic.Int64
				b.SetParallelism(callers)
				if callers == 1 {
					for b.Loop() {
						put1(b, c, int(n.Add(1)))
					}
					return
				}
				b.RunParallel(func(p *testing.PB) {
					for p.Next() {
						put1(b, c, int(n.Add(1)))
					}
				})
			})
		}
	}
}

func put1(b *testing.B, c *ds.Client, i int) {
	if _, err := c.Put(b.Context(), ds.IDKey("Row", int64(i%10000+1), nil), newRow(i)); err != nil {
		b.Error(err)
	}
}

func BenchmarkGet(b *testing.B) {
	c, _ := overTCP(b, nil)
	for i := range 1000 {
		put1(b, c, i)
	}
	b.Run("callers=1", func(b *testing.B) {
		for b.Loop() {
			var r row
			if err := c.Get(b.Context(), ds.IDKey("Row", 7, nil), &r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("callers=32", func(b *testing.B) {
		b.SetParallelism(16)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				var r row
				if err := c.Get(b.Context(), ds.IDKey("Row", 7, nil), &r); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func BenchmarkPutMulti500(b *testing.B) {
	c, _ := overTCP(b, nil)
	keys := make([]*ds.Key, 500)
	rows := make([]*row, 500)
	n := 0
	for b.Loop() {
		for i := range keys { // new ones, and after 100,000 new values of old ones
			keys[i], rows[i] = ds.IDKey("Row", int64(n%100_000+1), nil), newRow(n)
			n++
		}
		if _, err := c.PutMulti(b.Context(), keys, rows); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(500*b.N)/b.Elapsed().Seconds(), "entities/s")
}

// BenchmarkReadModifyWrite has 16 workers increment one counter (hot), or one
// each.
func BenchmarkReadModifyWrite(b *testing.B) {
	for _, hot := range []bool{true, false} {
		b.Run(fmt.Sprintf("hot=%v", hot), func(b *testing.B) {
			c, s := overTCP(b, nil)
			before := s.Stats()
			var worker atomic.Int64
			b.SetParallelism(8)
			b.RunParallel(func(p *testing.PB) {
				key := ds.NameKey("Counter", "hot", nil)
				if !hot {
					key = ds.IDKey("Counter", worker.Add(1), nil)
				}
				for p.Next() {
					_, err := c.RunInTransaction(b.Context(), func(tx *ds.Transaction) error {
						var n counter
						if err := tx.Get(key, &n); err != nil && err != ds.ErrNoSuchEntity {
							return err
						}
						n.N++
						_, err := tx.Put(key, &n)
						return err
					})
					if err != nil {
						b.Error(err)
					}
				}
			})
			after := s.Stats()
			b.ReportMetric(float64(after.Aborts-before.Aborts)/float64(b.N), "aborts/commit")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

func BenchmarkQuery(b *testing.B) {
	c, _ := overTCP(b, nil)
	const n = 100_000
	keys := make([]*ds.Key, 0, 500)
	rows := make([]*row, 0, 500)
	for i := range n {
		parent := ds.IDKey("Parent", int64(i/200+1), nil)
		keys, rows = append(keys, ds.IDKey("Row", int64(i+1), parent)), append(rows, newRow(i))
		if len(keys) == 500 {
			if _, err := c.PutMulti(b.Context(), keys, rows); err != nil {
				b.Fatal(err)
			}
			keys, rows = keys[:0], rows[:0]
		}
	}
	b.Run("ancestor+filter/100 of 100k", func(b *testing.B) {
		for b.Loop() {
			var got []row
			q := ds.NewQuery("Row").Ancestor(ds.IDKey("Parent", 42, nil)).FilterField("Parity", "=", "odd")
			if _, err := c.GetAll(b.Context(), q, &got); err != nil || len(got) != 100 {
				b.Fatal(len(got), err)
			}
		}
	})
	b.Run("filter+order/100 of 100k", func(b *testing.B) {
		for b.Loop() {
			var got []row
			q := ds.NewQuery("Row").FilterField("Shard", "=", 7).Order("-Size")
			if _, err := c.GetAll(b.Context(), q, &got); err != nil || len(got) != 100 {
				b.Fatal(len(got), err)
			}
		}
	})
	b.Run("count/kind of 100k", func(b *testing.B) {
		for b.Loop() {
			count(b, c, ds.NewQuery("Row"), n)
		}
	})
	b.Run("count/two filters, 50k of 100k", func(b *testing.B) {
		for b.Loop() {
			q := ds.NewQuery("Row").FilterField("Parity", "=", "odd").FilterField("Size", ">=", 0.0)
			count(b, c, q, n/2)
		}
	})
}

func count(b *testing.B, c *ds.Client, q *ds.Query, want int64) {
	r, err := c.RunAggregationQuery(b.Context(), q.NewAggregationQuery().WithCount("n"))
	if err != nil {
		b.Fatal(err)
	}
	if got := r["n"].(*pb.Value).GetIntegerValue(); got != want {
		b.Fatalf("%d; want %d", got, want)
	}
}
