package datastore_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// api is the bare API in short words. Its errors go to the test.
type api struct {
	pb.DatastoreClient
	t *testing.T
}

func key(kind, name string) *pb.Key {
	return &pb.Key{Path: []*pb.Key_PathElement{{Kind: kind, IdType: &pb.Key_PathElement_Name{Name: name}}}}
}

func integer(n int64) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: n}}
}

func put(kind, name string, n int64) *pb.Mutation {
	return &pb.Mutation{Operation: &pb.Mutation_Upsert{Upsert: &pb.Entity{
		Key: key(kind, name), Properties: map[string]*pb.Value{"n": integer(n)}}}}
}

func (a api) begin(previous []byte) []byte {
	a.t.Helper()
	req := &pb.BeginTransactionRequest{ProjectId: project}
	if previous != nil {
		req.TransactionOptions = &pb.TransactionOptions{Mode: &pb.TransactionOptions_ReadWrite_{
			ReadWrite: &pb.TransactionOptions_ReadWrite{PreviousTransaction: previous}}}
	}
	resp, err := a.BeginTransaction(a.t.Context(), req)
	if err != nil {
		a.t.Fatal(err)
	}
	return resp.GetTransaction()
}

func (a api) beginReadOnly() []byte {
	a.t.Helper()
	resp, err := a.BeginTransaction(a.t.Context(), &pb.BeginTransactionRequest{ProjectId: project,
		TransactionOptions: &pb.TransactionOptions{Mode: &pb.TransactionOptions_ReadOnly_{ReadOnly: &pb.TransactionOptions_ReadOnly{}}}})
	if err != nil {
		a.t.Fatal(err)
	}
	return resp.GetTransaction()
}

func inTx(tx []byte) *pb.ReadOptions {
	if tx == nil {
		return nil
	}
	return &pb.ReadOptions{ConsistencyType: &pb.ReadOptions_Transaction{Transaction: tx}}
}

// get returns n of an entity, -1 when it is missing.
func (a api) get(ctx context.Context, tx []byte, kind, name string) (int64, error) {
	resp, err := a.Lookup(ctx, &pb.LookupRequest{ProjectId: project, Keys: []*pb.Key{key(kind, name)}, ReadOptions: inTx(tx)})
	if err != nil || len(resp.GetFound()) == 0 {
		return -1, err
	}
	return resp.GetFound()[0].GetEntity().GetProperties()["n"].GetIntegerValue(), nil
}

func (a api) mustGet(tx []byte, kind, name string, want int64) {
	a.t.Helper()
	if got, err := a.get(a.t.Context(), tx, kind, name); err != nil || got != want {
		a.t.Fatalf("%s %s is %d, %v; want %d", kind, name, got, err, want)
	}
}

// names returns the names of the kind's entities with n ≥ least.
func (a api) names(tx []byte, kind string, least int64) ([]string, error) {
	resp, err := a.RunQuery(a.t.Context(), &pb.RunQueryRequest{ProjectId: project, ReadOptions: inTx(tx),
		QueryType: &pb.RunQueryRequest_Query{Query: &pb.Query{
			Kind: []*pb.KindExpression{{Name: kind}},
			Filter: &pb.Filter{FilterType: &pb.Filter_PropertyFilter{PropertyFilter: &pb.PropertyFilter{
				Property: &pb.PropertyReference{Name: "n"}, Op: pb.PropertyFilter_GREATER_THAN_OR_EQUAL, Value: integer(least)}}},
			Limit: wrapperspb.Int32(10),
		}}})
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, r := range resp.GetBatch().GetEntityResults() {
		names = append(names, r.GetEntity().GetKey().GetPath()[0].GetName())
	}
	return names, nil
}

func (a api) commit(ctx context.Context, tx []byte, mutations ...*pb.Mutation) error {
	req := &pb.CommitRequest{ProjectId: project, Mode: pb.CommitRequest_NON_TRANSACTIONAL, Mutations: mutations}
	if tx != nil {
		req.Mode = pb.CommitRequest_TRANSACTIONAL
		req.TransactionSelector = &pb.CommitRequest_Transaction{Transaction: tx}
	}
	_, err := a.Commit(ctx, req)
	return err
}

func (a api) mustCommit(tx []byte, mutations ...*pb.Mutation) {
	a.t.Helper()
	if err := a.commit(a.t.Context(), tx, mutations...); err != nil {
		a.t.Fatal(err)
	}
}

func (a api) rollback(tx []byte) {
	a.t.Helper()
	if _, err := a.Rollback(a.t.Context(), &pb.RollbackRequest{ProjectId: project, Transaction: tx}); err != nil {
		a.t.Fatal(err)
	}
}

// isolated runs f against a server in a bubble of its own, where time is fake
// and "it waits" is a fact: synctest.Wait returns when nothing moves any more.
func isolated(t *testing.T, o *datastore.Options, f func(t *testing.T, a api, e *env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := start(t, o)
		f(t, api{e.raw(), t}, e)
	})
}

// inBothModes is isolated in either mode.
func inBothModes(t *testing.T, o datastore.Options, f func(t *testing.T, a api, e *env)) {
	t.Helper()
	for _, mode := range []string{"pessimistic", "optimistic"} {
		o.Concurrency = mode
		t.Run(mode, func(t *testing.T) { isolated(t, &o, f) })
	}
}

// async is a call under way.
type async struct{ err chan error }

func do(f func() error) async {
	c := async{make(chan error, 1)}
	go func() { c.err <- f() }()
	synctest.Wait()
	return c
}

func (c async) waits() bool { return len(c.err) == 0 }

func wantCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Fatalf("got %v; want %v", err, want)
	}
}

func TestReadersInTransactionsTakeTurns(t *testing.T) {
	isolated(t, nil, func(t *testing.T, a api, e *env) {
		a.mustCommit(nil, put("T", "a", 1))
		first, second := a.begin(nil), a.begin(nil)
		a.mustGet(first, "T", "a", 1)
		var seen int64
		read := do(func() (err error) { seen, err = a.get(t.Context(), second, "T", "a"); return err })
		if !read.waits() {
			t.Fatal("the second reader did not wait")
		}
		if got := e.Stats().WaitingRequests; got != 1 {
			t.Errorf("%d waiting requests; want 1", got)
		}
		a.mustGet(nil, "T", "a", 1) // outside transactions nobody waits to read
		a.mustCommit(first, put("T", "a", 2))
		if err := <-read.err; err != nil || seen != 2 {
			t.Fatalf("the second reader saw %d, %v; want 2", seen, err)
		}
		a.mustCommit(second, put("T", "a", 3))
		a.mustGet(nil, "T", "a", 3)
	})
}

func TestWritesOutsideTransactionsWaitForLocks(t *testing.T) {
	isolated(t, nil, func(t *testing.T, a api, e *env) {
		tx := a.begin(nil)
		a.mustGet(tx, "T", "a", -1) // a missing entity is locked as well
		write := do(func() error { return a.commit(t.Context(), nil, put("T", "a", 1)) })
		if !write.waits() {
			t.Fatal("the write did not wait")
		}
		a.mustCommit(nil, put("T", "b", 1)) // another entity is free
		a.rollback(tx)
		if err := <-write.err; err != nil {
			t.Fatal(err)
		}
		a.mustGet(nil, "T", "a", 1)
	})
}

func TestAbandonedWriteIsNeverApplied(t *testing.T) {
	isolated(t, nil, func(t *testing.T, a api, e *env) {
		tx := a.begin(nil)
		a.mustGet(tx, "T", "a", -1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantCode(t, a.commit(ctx, nil, put("T", "a", 1)), codes.DeadlineExceeded)
		synctest.Wait()
		a.rollback(tx)
		synctest.Wait()
		a.mustGet(nil, "T", "a", -1)
		if st := e.Stats(); st.WaitingRequests != 0 {
			t.Errorf("%d requests still wait", st.WaitingRequests)
		}
	})
}

func TestQueriesLockWhatTheyScanned(t *testing.T) {
	isolated(t, nil, func(t *testing.T, a api, e *env) {
		a.mustCommit(nil, put("T", "low", 1), put("T", "high", 10), put("U", "other", 10))
		tx := a.begin(nil)
		if names, err := a.names(tx, "T", 5); err != nil || len(names) != 1 {
			t.Fatal(names, err)
		}
		a.mustCommit(nil, put("T", "low", 2)) // below the interval, before and after
		a.mustCommit(nil, put("U", "other", 11))
		for name, m := range map[string]*pb.Mutation{
			"an insertion into the gap":    put("T", "new", 7),
			"a move into the gap":          put("T", "low", 7),
			"a change of a found entity":   put("T", "high", 11),
			"a move out of the interval":   put("T", "high", 1),
			"a deletion of a found entity": {Operation: &pb.Mutation_Delete{Delete: key("T", "high")}},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			write := do(func() error { return a.commit(ctx, nil, m) })
			if !write.waits() {
				t.Errorf("%s did not wait", name)
			}
			cancel()
			<-write.err
			synctest.Wait()
		}
		a.mustCommit(tx)
		a.mustCommit(nil, put("T", "new", 7))
	})
}

func TestDeadlockAbortsTheYoungerAtOnce(t *testing.T) {
	isolated(t, nil, func(t *testing.T, a api, e *env) {
		a.mustCommit(nil, put("T", "a", 0), put("T", "b", 0))
		older, younger := a.begin(nil), a.begin(nil)
		a.mustGet(older, "T", "a", 0)
		a.mustGet(younger, "T", "b", 0)
		began := time.Now()
		cross := do(func() error { _, err := a.get(t.Context(), younger, "T", "a"); return err })
		if !cross.waits() {
			t.Fatal("no wait")
		}
		a.mustGet(older, "T", "b", 0) // closes the circle
		err := <-cross.err
		wantCode(t, err, codes.Aborted)
		const text = "too much contention on these datastore entities. please try again. entity groups: [(app=proj, T, a)]"
		if got := status.Convert(err).Message(); got != text {
			t.Errorf("got %q; want %q", got, text)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("it took %v", waited)
		}
		wantCode(t, a.commit(t.Context(), younger, put("T", "b", 9)), codes.Aborted)
		a.mustCommit(older, put("T", "a", 1), put("T", "b", 1))
		a.rollback(younger)
		a.mustGet(nil, "T", "b", 1)
		if st := e.Stats(); st.Aborts != 1 || st.OpenTransactions != 0 {
			t.Errorf("%d aborts, %d open; want 1, 0", st.Aborts, st.OpenTransactions)
		}
	})
}

func TestRetryKeepsItsAge(t *testing.T) {
	isolated(t, nil, func(t *testing.T, a api, e *env) {
		a.mustCommit(nil, put("T", "a", 0), put("T", "b", 0))
		victim := a.begin(nil)
		a.rollback(victim)
		other := a.begin(nil)
		retry := a.begin(victim) // begun last, but older than other
		a.mustGet(other, "T", "a", 0)
		a.mustGet(retry, "T", "b", 0)
		cross := do(func() error { _, err := a.get(t.Context(), other, "T", "b"); return err })
		a.mustGet(retry, "T", "a", 0)
		wantCode(t, <-cross.err, codes.Aborted)
		a.mustCommit(retry, put("T", "a", 1))
	})
}

func TestOlderRequestsGoFirst(t *testing.T) {
	isolated(t, nil, func(t *testing.T, a api, e *env) {
		holder, older, younger := a.begin(nil), a.begin(nil), a.begin(nil)
		a.mustGet(holder, "T", "a", -1)
		second := do(func() error { _, err := a.get(t.Context(), younger, "T", "a"); return err })
		first := do(func() error { _, err := a.get(t.Context(), older, "T", "a"); return err })
		a.mustCommit(holder, put("T", "a", 1))
		synctest.Wait()
		if first.waits() || !second.waits() {
			t.Fatalf("older waits: %v, younger waits: %v", first.waits(), second.waits())
		}
		a.rollback(older)
		if err := <-second.err; err != nil {
			t.Fatal(err)
		}
	})
}

// A scan of many entities gets its turn although single ones are locked all
// the time by transactions that came later.
func TestScansAreNotStarved(t *testing.T) {
	isolated(t, nil, func(t *testing.T, a api, e *env) {
		a.mustCommit(nil, put("T", "a", 10), put("T", "b", 10))
		holder, scan, late := a.begin(nil), a.begin(nil), a.begin(nil)
		a.mustGet(holder, "T", "a", 10)
		scanned := do(func() error { _, err := a.names(scan, "T", 5); return err })
		if !scanned.waits() {
			t.Fatal("the scan did not wait")
		}
		read := do(func() error { _, err := a.get(t.Context(), late, "T", "b"); return err })
		if !read.waits() {
			t.Fatal("a later request overtook the scan")
		}
		a.rollback(holder)
		if err := <-scanned.err; err != nil {
			t.Fatal(err)
		}
		if !read.waits() {
			t.Fatal("the later request did not wait for the scan")
		}
		a.rollback(scan)
		if err := <-read.err; err != nil {
			t.Fatal(err)
		}
	})
}

func TestTransactionsExpire(t *testing.T) {
	isolated(t, &datastore.Options{TransactionIdle: 60 * time.Second, TransactionMax: 270 * time.Second}, func(t *testing.T, a api, e *env) {
		idle, busy := a.begin(nil), a.begin(nil)
		a.mustGet(idle, "T", "a", -1)
		write := do(func() error { return a.commit(t.Context(), nil, put("T", "a", 1)) })
		began := time.Now()
		if err := <-write.err; err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited != 60*time.Second {
			t.Errorf("a dead client's lock was freed after %v; want 60s", waited)
		}
		wantCode(t, a.commit(t.Context(), idle, put("T", "a", 2)), codes.InvalidArgument)
		_ = busy
		if st := e.Stats(); st.Expired != 2 {
			t.Errorf("%d expired; want 2", st.Expired)
		}

		long := a.begin(nil)
		began = time.Now()
		for time.Since(began) < 269*time.Second {
			if _, err := a.get(t.Context(), long, "T", "a"); err != nil {
				t.Fatalf("after %v: %v", time.Since(began), err)
			}
			time.Sleep(45 * time.Second)
		}
		synctest.Wait() // for the timer of this very moment
		_, err := a.get(t.Context(), long, "T", "a")
		wantCode(t, err, codes.InvalidArgument)
		if got, want := status.Convert(err).Message(), "Transaction is invalid or closed."; got != want {
			t.Errorf("got %q; want %q", got, want)
		}
	})
}

func TestReadOnlyTransactionsSeeASnapshot(t *testing.T) {
	inBothModes(t, datastore.Options{}, func(t *testing.T, a api, e *env) {
		a.mustCommit(nil, put("T", "a", 10), put("T", "b", 10))
		tx := a.beginReadOnly()
		a.mustCommit(nil, put("T", "b", 9))
		a.mustGet(tx, "T", "a", 10)
		a.mustCommit(nil, put("T", "a", 11), put("T", "b", 11), put("T", "c", 11))
		a.mustGet(tx, "T", "b", 10)
		if names, err := a.names(tx, "T", 0); err != nil || len(names) != 2 {
			t.Errorf("the snapshot has %v, %v", names, err)
		}
		wantCode(t, a.commit(t.Context(), tx, put("T", "a", 1)), codes.InvalidArgument)
		a.mustCommit(tx)
	})
}

// TestTransactionsEnd: after 60 s without a request, and after 270 s with them.
func TestTransactionsEnd(t *testing.T) {
	inBothModes(t, datastore.Options{}, func(t *testing.T, a api, e *env) {
		for _, c := range []struct {
			pause, life time.Duration
		}{{60 * time.Second, 60 * time.Second}, {45 * time.Second, 270 * time.Second}} {
			for _, begin := range []func() []byte{func() []byte { return a.begin(nil) }, a.beginReadOnly} {
				tx, began := begin(), time.Now()
				for {
					time.Sleep(c.pause)
					synctest.Wait() // the transaction's timer is set for this very moment
					_, err := a.get(t.Context(), tx, "T", "a")
					if time.Since(began) < c.life {
						if err != nil {
							t.Fatalf("after %v: %v", time.Since(began), err)
						}
						continue
					}
					if got, want := status.Convert(err).Message(), "Transaction is invalid or closed."; got != want {
						t.Errorf("after %v: %q; want %q", time.Since(began), got, want)
					}
					break
				}
			}
		}
	})
}

// TestRefusedTransactions holds what names transactions to the texts of Google's
// emulator.
func TestRefusedTransactions(t *testing.T) {
	inBothModes(t, datastore.Options{}, func(t *testing.T, a api, e *env) {
		begin := func(previous []byte) error {
			_, err := a.BeginTransaction(t.Context(), &pb.BeginTransactionRequest{ProjectId: project, TransactionOptions: &pb.TransactionOptions{
				Mode: &pb.TransactionOptions_ReadWrite_{ReadWrite: &pb.TransactionOptions_ReadWrite{PreviousTransaction: previous}}}})
			return err
		}
		lookup := func(o *pb.ReadOptions) error {
			_, err := a.Lookup(t.Context(), &pb.LookupRequest{ProjectId: project, Keys: []*pb.Key{key("T", "a")}, ReadOptions: o})
			return err
		}
		closed := a.begin(nil)
		a.rollback(closed)
		foreign := append([]byte(nil), closed...)
		foreign[1]++ // not begun yet
		consistency := func(c pb.ReadOptions_ReadConsistency) *pb.ReadOptions {
			return &pb.ReadOptions{ConsistencyType: &pb.ReadOptions_ReadConsistency_{ReadConsistency: c}}
		}
		for what, c := range map[string]struct {
			err  error
			text string
		}{
			"a retry of anything":           {begin([]byte("abc")), "Invalid transaction."},
			"a retry of the future":         {begin(foreign), "Invalid transaction."},
			"a retry of a read-only one":    {begin(a.beginReadOnly()), "Cannot retry a read-only transaction."},
			"a read in no transaction":      {lookup(inTx([]byte{})), "a transaction cannot be the empty string."},
			"a read in a closed one":        {lookup(inTx(closed)), "Transaction is invalid or closed."},
			"a read in anything":            {lookup(inTx([]byte("abc"))), "Invalid transaction."},
			"no consistency":                {lookup(consistency(pb.ReadOptions_READ_CONSISTENCY_UNSPECIFIED)), "ReadConsistency must be specified."},
			"a consistency of another time": {lookup(consistency(9)), "ReadConsistency must be specified."},
		} {
			if status.Code(c.err) != codes.InvalidArgument || status.Convert(c.err).Message() != c.text {
				t.Errorf("%s: %v; want %q", what, c.err, c.text)
			}
		}
		if err := begin(closed); err != nil {
			t.Errorf("a retry of a closed one: %v", err)
		}
		if err := lookup(consistency(pb.ReadOptions_EVENTUAL)); err != nil {
			t.Errorf("an eventually consistent read: %v", err)
		}
	})
}

// TestRefusedCommitsAndTheirTransactions: what the store would refuse ends the
// transaction, what isn't even a mutation doesn't.
func TestRefusedCommitsAndTheirTransactions(t *testing.T) {
	inBothModes(t, datastore.Options{}, func(t *testing.T, a api, e *env) {
		based := func(m *pb.Mutation, version int64) *pb.Mutation {
			m.ConflictDetectionStrategy = &pb.Mutation_BaseVersion{BaseVersion: version}
			return m
		}
		k := key("T", "a")
		for what, c := range map[string]struct {
			mutations []*pb.Mutation
			ends      bool
		}{
			"an update of nothing":          {[]*pb.Mutation{update(k)}, true},
			"a forbidden pair":              {[]*pb.Mutation{upsert(k, "p", integer(1)), insert(k)}, true},
			"an insert of a version":        {[]*pb.Mutation{based(insert(k), 1)}, true},
			"an update of version 0":        {[]*pb.Mutation{based(update(k), 0)}, true},
			"a negative version":            {[]*pb.Mutation{based(update(k), -1)}, false},
			"two versions of one entity":    {[]*pb.Mutation{based(upsert(k, "p", integer(1)), 3), based(upsert(k, "p", integer(1)), 4)}, false},
			"no mutation":                   {[]*pb.Mutation{{}}, false},
			"a key without a kind":          {[]*pb.Mutation{upsert(path(named("", "a")), "p", integer(1))}, false},
			"a property that has no name":   {[]*pb.Mutation{upsert(k, "", integer(1))}, false},
			"an update of a key without id": {[]*pb.Mutation{update(path(&pb.Key_PathElement{Kind: "T"}))}, false},
		} {
			tx := a.begin(nil)
			if _, err := a.Commit(t.Context(), &pb.CommitRequest{ProjectId: project, Mode: pb.CommitRequest_TRANSACTIONAL,
				TransactionSelector: &pb.CommitRequest_Transaction{Transaction: tx}, Mutations: c.mutations}); err == nil {
				t.Errorf("%s was not refused", what)
			}
			_, err := a.get(t.Context(), tx, "T", "a")
			if ended := status.Convert(err).Message() == "Transaction is invalid or closed."; ended != c.ends || !ended && err != nil {
				t.Errorf("after %s the transaction says: %v; want it to be over: %v", what, err, c.ends)
			}
		}
	})
}

func TestTransactionsDontSeeTheirOwnWrites(t *testing.T) {
	inBothModes(t, datastore.Options{}, func(t *testing.T, a api, e *env) {
		tx := a.begin(nil)
		a.mustGet(tx, "T", "a", -1)
		a.mustCommit(tx, put("T", "a", 1))
		err := a.commit(t.Context(), tx, put("T", "a", 2))
		if got, want := status.Convert(err).Message(), "Transaction is invalid or closed."; got != want {
			t.Errorf("a second commit: %q; want %q", got, want)
		}
		a.rollback(tx) // of a closed one is no error
		a.mustGet(nil, "T", "a", 1)
	})
}

func TestFirstReadMayBeginTheTransaction(t *testing.T) {
	isolated(t, nil, func(t *testing.T, a api, e *env) {
		resp, err := a.Lookup(t.Context(), &pb.LookupRequest{ProjectId: project, Keys: []*pb.Key{key("T", "a")},
			ReadOptions: &pb.ReadOptions{ConsistencyType: &pb.ReadOptions_NewTransaction{NewTransaction: &pb.TransactionOptions{}}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = a.Lookup(ctx, &pb.LookupRequest{ProjectId: project, Keys: []*pb.Key{key("T", "a")},
			ReadOptions: &pb.ReadOptions{ConsistencyType: &pb.ReadOptions_NewTransaction{NewTransaction: &pb.TransactionOptions{}}}})
		wantCode(t, err, codes.DeadlineExceeded)
		synctest.Wait()
		if st := e.Stats(); st.OpenTransactions != 1 {
			t.Errorf("%d transactions are open; the one that nobody heard of should be gone", st.OpenTransactions)
		}
		a.mustCommit(resp.GetTransaction(), put("T", "a", 1))
	})
}

// TestAbortedCommitEndsItsTransaction: clients don't roll back what a commit
// told them was aborted.
func TestAbortedCommitEndsItsTransaction(t *testing.T) {
	isolated(t, nil, func(t *testing.T, a api, e *env) {
		older, younger := a.begin(nil), a.begin(nil)
		a.mustGet(older, "T", "a", -1)
		a.mustGet(younger, "T", "b", -1)
		waiting := do(func() error { _, err := a.get(t.Context(), older, "T", "b"); return err })
		wantCode(t, a.commit(t.Context(), younger, put("T", "a", 1)), codes.Aborted)
		wantCode(t, <-waiting.err, codes.OK)
		a.mustCommit(older, put("T", "a", 2))
		if st := e.Stats(); st.OpenTransactions != 0 {
			t.Errorf("%d transactions are open, want none", st.OpenTransactions)
		}
	})
}

func TestOptimisticCommitsAreValidated(t *testing.T) {
	change := map[string][]*pb.Mutation{
		"a key that was read":            {put("T", "a", 2)},
		"a missing key that was read":    {put("T", "missing", 1)},
		"another value and back":         {put("T", "a", 2), put("T", "a", 1)},
		"an insertion into the interval": {put("Q", "new", 7)},
		"a move into the interval":       {put("Q", "low", 7)},
	}
	for name, mutations := range change {
		t.Run(name, func(t *testing.T) {
			isolated(t, &datastore.Options{Concurrency: "optimistic"}, func(t *testing.T, a api, e *env) {
				a.mustCommit(nil, put("T", "a", 1), put("Q", "low", 1), put("Q", "high", 10))
				tx := a.begin(nil)
				a.mustGet(tx, "T", "a", 1)
				a.mustGet(tx, "T", "missing", -1)
				if _, err := a.names(tx, "Q", 5); err != nil {
					t.Fatal(err)
				}
				for _, m := range mutations {
					a.mustCommit(nil, m) // doesn't wait
				}
				a.mustGet(tx, "T", "a", 1) // still the snapshot
				wantCode(t, a.commit(t.Context(), tx, put("T", "result", 1)), codes.Aborted)
				a.mustGet(nil, "T", "result", -1)
			})
		})
	}
	t.Run("nothing that was read", func(t *testing.T) {
		isolated(t, &datastore.Options{Concurrency: "optimistic"}, func(t *testing.T, a api, e *env) {
			a.mustCommit(nil, put("T", "a", 1), put("Q", "low", 1))
			tx := a.begin(nil)
			a.mustGet(tx, "T", "a", 1)
			if _, err := a.names(tx, "Q", 5); err != nil {
				t.Fatal(err)
			}
			a.mustCommit(nil, put("T", "b", 1), put("Q", "low", 2), put("T", "a", 1)) // what a has already
			a.mustCommit(tx, put("T", "result", 1))
		})
	})
}

// TestResetWhileRequestsRun: a reset ends every transaction and leaves nothing
// that was there before, whatever goes on meanwhile; then all goes on as usual.
func TestResetWhileRequestsRun(t *testing.T) {
	for _, mode := range []string{"pessimistic", "optimistic"} {
		t.Run(mode, func(t *testing.T) {
			isolated(t, &datastore.Options{Concurrency: mode}, func(t *testing.T, a api, e *env) {
				a.mustCommit(nil, put("T", "a", 1))
				holder := a.begin(nil)
				a.mustGet(holder, "T", "a", 1)
				var waiting async
				if mode == "pessimistic" {
					waiting = do(func() error {
						return a.commit(t.Context(), nil, masked(transformed(key("T", "a"), nil, increment("n", integer(1)))))
					})
				}
				before := time.Now()
				time.Sleep(time.Second)
				if err := e.reset(); err != nil {
					t.Fatal(err)
				}
				wantCode(t, a.commit(t.Context(), holder, put("T", "b", 1)), codes.InvalidArgument)
				a.mustGet(nil, "T", "b", -1)
				want := int64(-1)
				if mode == "pessimistic" {
					if err := <-waiting.err; err != nil {
						t.Fatal(err)
					}
					want = 1 // of nothing, not of what was there before
				}
				a.mustGet(nil, "T", "a", want)
				_, err := a.Lookup(t.Context(), &pb.LookupRequest{ProjectId: project, Keys: []*pb.Key{key("T", "a")}, ReadOptions: at(before)})
				wantCode(t, err, codes.FailedPrecondition)
				if st := e.Stats(); st.OpenTransactions != 0 || st.WaitingRequests != 0 {
					t.Errorf("%d transactions open, %d requests waiting", st.OpenTransactions, st.WaitingRequests)
				}
			})
		})
	}
}

// reset asks for a reset over HTTP.
func (e *env) reset() error {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return e.net.DialContext(ctx, "tcp", e.addr)
	}}}
	resp, err := c.Post("http://localhost/reset", "", nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}

// TestTransactionsBelongToTheirDatabase: two databases that begin to be used at
// the same moment number their transactions alike, and yet never take one for
// another.
func TestTransactionsBelongToTheirDatabase(t *testing.T) {
	inBothModes(t, datastore.Options{}, func(t *testing.T, a api, e *env) {
		begin := func(database string, previous []byte) ([]byte, error) {
			resp, err := a.BeginTransaction(t.Context(), &pb.BeginTransactionRequest{ProjectId: project, DatabaseId: database, TransactionOptions: &pb.TransactionOptions{
				Mode: &pb.TransactionOptions_ReadWrite_{ReadWrite: &pb.TransactionOptions_ReadWrite{PreviousTransaction: previous}}}})
			return resp.GetTransaction(), err
		}
		here, err := begin("here", nil)
		if err != nil {
			t.Fatal(err)
		}
		there, err := begin("there", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, previous := begin("there", here)
		_, lookup := a.Lookup(t.Context(), &pb.LookupRequest{ProjectId: project, DatabaseId: "there", ReadOptions: inTx(here), Keys: []*pb.Key{key("T", "a")}})
		_, commit := a.Commit(t.Context(), &pb.CommitRequest{ProjectId: project, DatabaseId: "there", TransactionSelector: &pb.CommitRequest_Transaction{Transaction: here}})
		_, rollback := a.Rollback(t.Context(), &pb.RollbackRequest{ProjectId: project, DatabaseId: "there", Transaction: here})
		for what, err := range map[string]error{"previous_transaction": previous, "lookup": lookup, "commit": commit, "rollback": rollback} {
			if status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != "Invalid transaction." {
				t.Errorf("%s with a transaction of another database: %v", what, err)
			}
		}
		if _, err := a.Commit(t.Context(), &pb.CommitRequest{ProjectId: project, DatabaseId: "there", TransactionSelector: &pb.CommitRequest_Transaction{Transaction: there}}); err != nil {
			t.Errorf("the database's own: %v", err)
		}
	})
}
