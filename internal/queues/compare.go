package queues

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	beta "cloud.google.com/go/cloudtasks/apiv2beta3"
	"cloud.google.com/go/cloudtasks/apiv2beta3/cloudtaskspb"
	"google.golang.org/api/iterator"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
)

// An Action is what a queue needs to become what the file says.
type Action string

const (
	Create   Action = "create"
	Update   Action = "update"
	Pause    Action = "pause"    // the file says rate: 0
	Resume   Action = "resume"   // the file lists it, and it is paused
	Omitted  Action = "omitted"  // the file leaves it out, so that a deploy pauses it
	Conflict Action = "conflict" // what no call can change
)

// A Change is one difference between a queue and the file.
type Change struct {
	Queue  string  `json:"queue"` // short id
	Action Action  `json:"action"`
	Line   int     `json:"line,omitempty"` // of the file; 0: the queue isn't in it
	Fields []Field `json:"fields,omitempty"`
	Why    string  `json:"why,omitempty"`

	entry cloudtasks.FileQueue
}

// A Field has another value than the file says. Old is empty for a new queue.
type Field struct {
	Field string `json:"field"`
	Old   string `json:"old,omitempty"`
	New   string `json:"new"`
}

// maxQueues bounds what List reads: ten times what a region may have.
const maxQueues = 10_000

// List returns the queues of a location, projects/P/locations/L.
func List(ctx context.Context, c *beta.Client, parent string) ([]*cloudtaskspb.Queue, error) {
	var all []*cloudtaskspb.Queue
	for it := c.ListQueues(ctx, &cloudtaskspb.ListQueuesRequest{Parent: parent}); ; {
		q, err := it.Next()
		switch {
		case errors.Is(err, iterator.Done):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("list the queues of %s: %w", parent, err)
		case len(all) == maxQueues:
			return nil, fmt.Errorf("%s has more than %d queues", parent, maxQueues)
		}
		all = append(all, q)
	}
}

// Compare returns what a deploy of the file would change in the queues that there
// are: in the order of the file, and then those that the file leaves out.
func Compare(file *cloudtasks.QueueFile, have []*cloudtaskspb.Queue) []Change {
	there := map[string]*cloudtaskspb.Queue{}
	for _, q := range have {
		there[id(q)] = q
	}
	var changes []Change
	for _, entry := range file.Queues {
		changes = append(changes, compare(entry, there[entry.Queue.GetName()], file.ResumePaused)...)
		delete(there, entry.Queue.GetName())
	}
	var omitted []Change
	for name, q := range there {
		if name != cloudtasks.DefaultQueue && !stopped(q) {
			omitted = append(omitted, Change{Queue: name, Action: Omitted, Why: "the file leaves it out: `gcloud app deploy` of it would pause the queue"})
		}
	}
	slices.SortFunc(omitted, func(a, b Change) int { return cmp.Compare(a.Queue, b.Queue) })
	return append(changes, omitted...)
}

func id(q *cloudtaskspb.Queue) string { return q.GetName()[strings.LastIndexByte(q.GetName(), '/')+1:] }

// compare is Compare for one entry. A queue is paused before it is changed and
// resumed after it.
func compare(entry cloudtasks.FileQueue, have *cloudtaskspb.Queue, resume bool) (changes []Change) {
	note := func(a Action, why string, fields ...Field) {
		changes = append(changes, Change{Queue: entry.Queue.GetName(), Action: a, Line: entry.Line, Fields: fields, Why: why, entry: entry})
	}
	const zero = "its rate is 0"
	if have == nil {
		note(Create, "", fields(entry, nil)...)
		if entry.Paused {
			note(Pause, zero)
		}
		return changes
	}
	if is, wanted := typeOf(have), typeOf(entry.Queue); is != wanted {
		note(Conflict, fmt.Sprintf("it is a %s queue and the file wants a %s queue, which can't be changed: delete it, or give the new one another name", is, wanted))
		return changes
	}
	if entry.Paused && !stopped(have) {
		note(Pause, zero)
	}
	if differ := fields(entry, have); len(differ) > 0 {
		note(Update, "", differ...)
	}
	if !entry.Paused && stopped(have) && resume {
		note(Resume, fmt.Sprintf("the file lists it, and it is %s (resume_paused_queues: False keeps it so)", strings.ToLower(have.GetState().String())))
	}
	return changes
}

func stopped(q *cloudtaskspb.Queue) bool {
	return q.GetState() == cloudtaskspb.Queue_PAUSED || q.GetState() == cloudtaskspb.Queue_DISABLED
}

func typeOf(q *cloudtaskspb.Queue) string {
	if q.GetType() == cloudtaskspb.Queue_PULL {
		return "pull"
	}
	return "push"
}

// fields lists what have has otherwise than the file says, or, of a new queue,
// all that the file says.
func fields(entry cloudtasks.FileQueue, have *cloudtaskspb.Queue) (differ []Field) {
	for _, path := range entry.Fields {
		f := Field{Field: path, New: valueAt(entry.Queue, path)}
		switch {
		case have != nil:
			f.Old = valueAt(have, path)
		case f.New == noTarget:
			continue // as a new queue has it
		}
		if f.Old != f.New {
			differ = append(differ, f)
		}
	}
	return differ
}

// valueAt puts the field of a queue at a path into words. What is unset has the
// words of its zero value.
func valueAt(q *cloudtaskspb.Queue, path string) string {
	m := q.ProtoReflect()
	for name := range strings.SplitSeq(path, ".") {
		field := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		if field == nil {
			return ""
		}
		if field.Message() == nil {
			return scalar(m.Get(field).Interface())
		}
		m = m.Get(field).Message() // an empty one where it isn't set
	}
	switch v := m.Interface().(type) {
	case *durationpb.Duration:
		return v.AsDuration().String()
	case *cloudtaskspb.AppEngineRouting:
		return routing(v)
	}
	return ""
}

// scalar has the digits that a deploy compares.
func scalar(v any) string {
	if f, ok := v.(float64); ok {
		return strconv.FormatFloat(f, 'g', 6, 64)
	}
	return fmt.Sprint(v)
}

const noTarget = "none"

// routing has the form of target in queue.yaml.
func routing(r *cloudtaskspb.AppEngineRouting) string {
	switch {
	case r.GetService() == "" && r.GetVersion() == "":
		return noTarget
	case r.GetVersion() == "":
		return r.GetService()
	}
	return r.GetVersion() + "." + r.GetService()
}
