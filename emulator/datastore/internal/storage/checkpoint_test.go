package storage

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
)

// TestFailedCheckpointIsNotTriedAtEachCommit: where there is no room for one, the
// attempts get rarer as the log grows.
func TestFailedCheckpointIsNotTriedAtEachCommit(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	s, err := Open(&Options{Dir: dir, Fsync: "never", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, fmt.Sprintf("%016d.log", 2)), 0o700); err != nil { // in the way of the next log
		t.Fatal(err)
	}
	large := entity("large", 1)
	large.Properties["blob"] = &pb.Value{ValueType: &pb.Value_BlobValue{BlobValue: make([]byte, 1<<20-1<<10)}, ExcludeFromIndexes: true}
	for i := range checkpointAfter>>20 + 30 {
		large.Properties["n"] = &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: int64(i)}}
		e, err := NewEntity(large)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.DB(ID{Project: "p"}).Commit([]Mutation{{Op: Upsert, Key: e.Key(), Entity: e}}); err != nil {
			t.Fatal(err)
		}
		s.checkpoints.wg.Wait()
	}
	if n := strings.Count(log.String(), "checkpoint failed"); n != 1 {
		t.Errorf("%d checkpoints failed, want 1:\n%s", n, log.String())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
