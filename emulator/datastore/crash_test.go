package datastore_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	ds "cloud.google.com/go/datastore"
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/google/go-cmp/cmp"
	"github.com/latchwork/latchwork/emulator/datastore"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// The test binary is its own server: with serveDir in the environment it
// serves that folder on a loopback port, which it prints, until it is killed.
const (
	serveDir  = "DATASTORE_TEST_SERVE_DIR"
	serveAddr = "DATASTORE_TEST_SERVE_ADDR"
	serveMode = "DATASTORE_TEST_SERVE_CONCURRENCY"
)

func TestMain(m *testing.M) {
	if _, ok := os.LookupEnv(serveDir); ok {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func serve() error {
	s, err := datastore.New(&datastore.Options{Dir: os.Getenv(serveDir), Concurrency: os.Getenv(serveMode)})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", os.Getenv(serveAddr))
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return s.Serve(l)
}

// subprocess starts a server process over dir.
func subprocess(t *testing.T, dir string) (addr string, kill func()) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), serveDir+"="+dir, serveAddr+"=127.0.0.1:0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server did not start: %v", err)
	}
	return strings.TrimSpace(line), kill
}

func dialTCP(t *testing.T, addr string) *ds.Client {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	c, err := ds.NewClient(t.Context(), project, option.WithGRPCConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); _ = conn.Close() })
	return c
}

// TestKillLosesNothingAcknowledged kills the server with writers in full swing,
// several times over one folder. Every acknowledged write must be there, in its
// last acknowledged state or in the one that was under way, and every
// transaction must have happened as a whole.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	const writers, rounds = 4, 3
	acked := make([]int, writers)
	tried := make([]int, writers)
	for round := range rounds {
		addr, kill := subprocess(t, dir)
		c := dialTCP(t, addr)
		compareAcked(t, c, acked, tried)
		enough := make(chan struct{}, writers)
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for n := acked[w] + 1; ; n++ {
					tried[w] = n
					if err := writePair(t.Context(), c, w, n); err != nil {
						return // killed
					}
					acked[w] = n
					if n == (round+1)*50 {
						enough <- struct{}{}
					}
				}
			})
		}
		for range writers {
			<-enough
		}
		kill()
		wg.Wait()
	}
	addr, _ := subprocess(t, dir)
	compareAcked(t, dialTCP(t, addr), acked, tried)
}

type half struct{ N int }

func pairKeys(w int) []*ds.Key {
	name := strconv.Itoa(w)
	return []*ds.Key{ds.NameKey("Left", name, nil), ds.NameKey("Right", name, nil)}
}

// writePair writes n to both halves of a pair, in one transaction.
func writePair(ctx context.Context, c *ds.Client, w, n int) error {
	tx, err := c.NewTransaction(ctx)
	if err != nil {
		return err
	}
	if _, err := tx.PutMulti(pairKeys(w), []*half{{n}, {n}}); err != nil {
		return err
	}
	_, err = tx.Commit()
	return err
}

func compareAcked(t *testing.T, c *ds.Client, acked, tried []int) {
	t.Helper()
	for w := range acked {
		if tried[w] == 0 {
			continue
		}
		got := make([]half, 2)
		if err := c.GetMulti(t.Context(), pairKeys(w), got); err != nil {
			t.Fatalf("pair %d, acknowledged %d: %v", w, acked[w], err)
		}
		if got[0] != got[1] || got[0].N != acked[w] && got[0].N != tried[w] {
			t.Errorf("pair %d is %v; acknowledged %d, tried %d", w, got, acked[w], tried[w])
		}
		acked[w] = got[0].N
	}
}

// TestKillKeepsThePast kills the server while counters are incremented, many at
// once, by transforms. Each acknowledged increment is there, once, and the state
// at the time of each is still what it was.
func TestKillKeepsThePast(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	const writers = 4
	type ack struct {
		time  *timestamppb.Timestamp
		value int64
	}
	var mu sync.Mutex
	var acked []ack
	var sum int64 // of what came back, the killed ones not
	for range 2 {
		addr, kill := subprocess(t, dir)
		c := rawTCP(t, addr)
		enough := make(chan struct{}, writers)
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for n := 0; ; n++ {
					resp, err := c.Commit(t.Context(), &pb.CommitRequest{ProjectId: project,
						TransactionSelector: &pb.CommitRequest_SingleUseTransaction{SingleUseTransaction: &pb.TransactionOptions{}},
						Mutations: []*pb.Mutation{
							masked(transformed(key("Sum", "all"), nil, increment("n", integer(1)), requestTime("t"))),
							masked(transformed(key("Sum", "copy"), nil, increment("n", integer(1)))),
						}})
					if err != nil {
						return // killed
					}
					mu.Lock()
					sum++
					acked = append(acked, ack{resp.GetCommitTime(), resp.GetMutationResults()[0].GetTransformResults()[0].GetIntegerValue()})
					mu.Unlock()
					if n == 50 {
						enough <- struct{}{}
					}
				}
			})
		}
		for range writers {
			<-enough
		}
		kill()
		wg.Wait()
	}
	addr, _ := subprocess(t, dir)
	c := rawTCP(t, addr)
	keys := []*pb.Key{key("Sum", "all"), key("Sum", "copy")}
	both := func(o *pb.ReadOptions) (values []int64) {
		resp, err := c.Lookup(t.Context(), &pb.LookupRequest{ProjectId: project, Keys: keys, ReadOptions: o})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range resp.GetFound() {
			values = append(values, f.GetEntity().GetProperties()["n"].GetIntegerValue())
		}
		return values
	}
	now := both(nil)
	if len(now) != 2 || now[0] != now[1] || now[0] < sum || now[0] > sum+2*writers {
		t.Errorf("counted to %v; %d increments were acknowledged", now, sum)
	}
	for _, a := range acked {
		if got := both(atTime(a.time)); len(got) != 2 || got[0] != a.value || got[1] != a.value {
			t.Errorf("at the commit that counted to %d: %v", a.value, got)
		}
	}
}

func rawTCP(t *testing.T, addr string) pb.DatastoreClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return pb.NewDatastoreClient(conn)
}

// TestRestartKeepsEverything compares all that a client can see before and
// after a restart, with and without a checkpoint in between.
func TestRestartKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	var want []string
	var ids []int64
	for round := range 3 {
		e := start(t, &datastore.Options{Dir: dir})
		c := e.client()
		if got := dump(t, c); !cmp.Equal(got, want) {
			t.Fatalf("round %d: %s", round, cmp.Diff(want, got))
		}
		for i := range 20 {
			if _, err := c.Put(t.Context(), ds.IDKey("Counter", int64(i+1), nil), &counter{N: round*100 + i}); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Delete(t.Context(), ds.IDKey("Counter", int64(round+1), nil)); err != nil {
			t.Fatal(err)
		}
		k, err := c.Put(t.Context(), ds.IncompleteKey("Auto", nil), &counter{N: round})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, k.ID)
		want = dump(t, c)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if ids[0] == ids[1] || ids[1] == ids[2] {
		t.Errorf("automatic identifiers repeat after a restart: %v", ids)
	}
}

// dump lists all entities.
func dump(t *testing.T, c *ds.Client) []string {
	t.Helper()
	var lines []string
	for _, kind := range []string{"Counter", "Auto"} {
		for _, order := range []string{"__key__", "-N"} {
			var all []counter
			keys, err := c.GetAll(t.Context(), ds.NewQuery(kind).Order(order), &all)
			if err != nil {
				t.Fatal(err)
			}
			for i, k := range keys {
				lines = append(lines, fmt.Sprint(k, all[i]))
			}
		}
	}
	return lines
}
