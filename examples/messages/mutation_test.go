package messages

import (
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/datastore"
	"github.com/google/go-cmp/cmp"
)

func TestMutationsSurviveTheJournal(t *testing.T) {
	after := time.Unix(1_000_000, 0)
	types := messageTypes()
	for _, m := range []Mutation{
		&sendMessage{"ada/1", 3, "bob", "Grüße", time.Minute},
		&writeReceipt{"ada/1", 3, true, time.Minute},
		&timeout{"ada/1"},
		&reminder{"ada/1"},
	} {
		entry, err := types.encode(m, "ns1", after)
		if err != nil {
			t.Fatal(err)
		}
		if !entry.TargetRoot.Equal(m.Target("ns1")) || entry.TargetRoot.Namespace != "ns1" || !entry.ProcessAfter.Equal(after) {
			t.Errorf("%T: the entry is %+v", m, entry)
		}
		// As Datastore keeps it.
		props, err := datastore.SaveStruct(entry)
		if err != nil {
			t.Fatal(err)
		}
		var stored journalEntry
		if err := datastore.LoadStruct(&stored, props); err != nil {
			t.Fatal(err)
		}
		got, err := types.decode(&stored)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, got); diff != "" {
			t.Errorf("%T changed in the journal (-put +got):\n%s", m, diff)
		}
	}
}

// The stored form is a contract with workers of other versions.
func TestJournalEntryIsStable(t *testing.T) {
	entry, err := messageTypes().encode(&writeReceipt{"ada/1", 3, true, time.Minute}, "", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if entry.Type != "WriteReceipt" || entry.Version != 1 || entry.ExpandedShard != -5405740388999641723 {
		t.Errorf("type %q, version %d, shard %d", entry.Type, entry.Version, entry.ExpandedShard)
	}
	const want = `{"Message":"ada/1","Index":3,"Success":true,"Reminder":60000000000}`
	if string(entry.Data) != want {
		t.Errorf("data %s; want %s", entry.Data, want)
	}
}

func TestUndecodableEntries(t *testing.T) {
	types := messageTypes()
	for name, test := range map[string]struct {
		entry journalEntry
		want  string
	}{
		"a newer version": {journalEntry{Version: 2, Type: "Timeout", Data: []byte(`{}`)}, "version 2"},
		"an unknown type": {journalEntry{Version: 1, Type: "Refund", Data: []byte(`{}`)}, `"Refund"`},
		"no type":         {journalEntry{}, `""`},
		"no JSON":         {journalEntry{Version: 1, Type: "Timeout", Data: []byte(`<`)}, `"Timeout"`},
		"other JSON":      {journalEntry{Version: 1, Type: "WriteReceipt", Data: []byte(`{"Index":"x"}`)}, `"WriteReceipt"`},
	} {
		if m, err := types.decode(&test.entry); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, %v; the error must contain %s", name, m, err, test.want)
		}
	}
	if _, err := types.encode(&writeMessage{Message: "ada/1"}, "", time.Time{}); err == nil {
		t.Error("a mutation of no registered type was encoded")
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(1, "SendMessage", []byte(`{"Message":"ada/1","Recipient":"bob"}`))
	f.Add(1, "Timeout", []byte(`null`))
	f.Add(9, "", []byte(nil))
	types := messageTypes()
	f.Fuzz(func(t *testing.T, version int, name string, data []byte) {
		m, err := types.decode(&journalEntry{Version: version, Type: name, Data: data})
		if (m == nil) == (err == nil) {
			t.Errorf("%v, %v", m, err)
		}
	})
}
