package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"cloud.google.com/go/cloudtasks/apiv2beta3/cloudtaskspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
	"github.com/latchwork/latchwork/internal/queues"
)

// A queueList has the queues of the location.
type queueList struct {
	all  []*cloudtaskspb.Queue
	byID map[string]*cloudtaskspb.Queue
}

func (s *session) list(ctx context.Context) (queueList, error) {
	if err := s.answers(ctx, s.CloudTasksHost); err != nil {
		return queueList{}, err
	}
	all, err := queues.List(ctx, s.TasksBeta, s.parent())
	l := queueList{all, map[string]*cloudtaskspb.Queue{}}
	for _, q := range all {
		l.byID[strings.TrimPrefix(q.GetName(), s.parent()+"/queues/")] = q
	}
	return l, err
}

// mayNotList tells that it is the list alone that failed: an enqueuer needs none.
func mayNotList(err error) bool { return status.Code(err) == codes.PermissionDenied }

// unlisted is the finding of a check that can't do without the list.
func (s *session) unlisted(l look, err error) Finding {
	if mayNotList(err) {
		return l.skip("these credentials may not list the queues")
	}
	return l.fail("latchwork doctor", "%s", s.words(err))
}

// at are the flags of gcloud that say where the queues are.
func (s *session) at() string {
	return fmt.Sprintf("--location=%s --project=%s", quote(s.Location), quote(s.Project))
}

// cloudTasks: does Cloud Tasks answer?
func (s *session) cloudTasks(context.Context) Finding {
	l := look("the queues of " + s.parent())
	list, err := s.listed()
	if err == nil {
		return l.ok("it answers; %s", count(len(list.all), "queue"))
	}
	remedy := "gcloud tasks queues list " + s.at()
	switch {
	case s.emulated():
		remedy = "latchwork emulator"
	case mayNotList(err):
		return l.warn(whoRuns+fmt.Sprintf("gcloud services enable cloudtasks.googleapis.com --project=%s\ngcloud projects add-iam-policy-binding %s --member=\"$MEMBER\" --role=roles/cloudtasks.viewer", quote(s.Project), quote(s.Project)),
			"the worker need not, but these credentials may not list the queues, or the API isn't enabled: %s", s.words(err))
	case status.Code(err) == codes.NotFound, status.Code(err) == codes.InvalidArgument:
		remedy = "gcloud tasks locations list --project=" + quote(s.Project) + "  # for CLOUD_TASKS_LOCATION"
	}
	return l.fail(remedy, "%v", s.words(err))
}

// queues: is there a queue that runs for each class?
func (s *session) queues(context.Context) Finding {
	l := look("the queues of the classes: " + strings.Join(s.Queues, ", "))
	list, err := s.listed()
	if err != nil {
		return s.unlisted(l, err)
	}
	var missing, pull, disabled, paused, remedies []string
	for _, name := range s.Queues {
		switch q := list.byID[name]; {
		case q == nil:
			missing = append(missing, name)
		case q.GetType() == cloudtaskspb.Queue_PULL:
			pull = append(pull, name)
		case q.GetState() == cloudtaskspb.Queue_DISABLED:
			disabled = append(disabled, name)
		case q.GetState() == cloudtaskspb.Queue_PAUSED:
			paused = append(paused, name)
		}
	}
	var found []string
	tell := func(what string, names []string) {
		if len(names) > 0 {
			found = append(found, what+": "+strings.Join(names, ", "))
		}
	}
	tell("missing", missing)
	tell("pull queues, which push nothing", pull)
	tell("disabled by a deploy of queue.yaml that left them out", disabled)
	tell("paused", paused)
	if absent := append(missing, pull...); len(absent) > 0 {
		remedies = append(remedies, s.creating(absent))
	}
	for _, name := range append(disabled, paused...) {
		remedies = append(remedies, "gcloud tasks queues resume "+quote(name)+" "+s.at())
	}
	remedy := strings.Join(remedies, "\n")
	switch {
	case len(found) == 0:
		return l.ok("there, and running: %s", count(len(s.Queues), "queue"))
	case len(found) == 1 && len(paused) > 0:
		return l.warn(remedy, "%s: their tasks wait", found[0])
	}
	return l.fail(remedy, "%s", strings.Join(found, "; "))
}

// creating makes queues, by queue.yaml where it has them.
func (s *session) creating(names []string) string {
	file, err := cloudtasks.ParseQueueYAML(s.QueueFile.Text)
	inFile := func(name string) bool {
		return err == nil && slices.ContainsFunc(file.Queues, func(q cloudtasks.FileQueue) bool { return q.Queue.GetName() == name })
	}
	var remedies []string
	for _, name := range names {
		switch {
		case inFile(name):
			remedies = append(remedies, "latchwork queues apply "+quote(s.QueueFile.Name))
		case s.emulated():
			remedies = append(remedies, "latchwork serve  # creates the queues of its classes")
		default:
			remedies = append(remedies, "gcloud tasks queues create "+quote(name)+" "+s.at())
		}
	}
	slices.Sort(remedies)
	return strings.Join(slices.Compact(remedies), "\n")
}

// shown is how many of many things a finding names.
const shown = 5

// queueDrift: are the queues what queue.yaml says, and what would a deploy of it
// pause?
func (s *session) queueDrift(context.Context) Finding {
	l := look(s.QueueFile.Name + " and the queues of " + s.parent())
	if s.QueueFile.Err == nil && s.QueueFile.Text == nil {
		return look("queue.yaml").skip("there is no queue.yaml here; --queues names one")
	}
	list, err := s.listed()
	if err != nil {
		return s.unlisted(l, err)
	}
	name := quote(s.QueueFile.Name)
	file, err := cloudtasks.ParseQueueYAML(s.QueueFile.Text)
	if s.QueueFile.Err != nil {
		err = s.QueueFile.Err
	}
	if err != nil {
		return l.fail("latchwork queues diff "+name, "%v", err)
	}
	changes := queues.Compare(file, list.all)
	if len(changes) == 0 {
		return l.ok("no differences")
	}
	var found []string
	omitted := 0
	for _, c := range changes {
		if c.Action == queues.Omitted {
			omitted++
		}
		found = append(found, words(c))
	}
	if more := len(found) - shown; more > 0 {
		found = append(found[:shown], fmt.Sprintf("and %d more", more))
	}
	remedy := "latchwork queues diff " + name + "\nlatchwork queues apply " + name
	if omitted == len(changes) {
		remedy = "latchwork queues diff " + name + "  # add what is needed to the file before the next deploy of it, which pauses the rest"
	}
	return l.warn(remedy, "%s", strings.Join(found, "\n"))
}

// words is a change in one line.
func words(c queues.Change) string {
	switch c.Action {
	case queues.Update:
		var fields []string
		for _, f := range c.Fields {
			fields = append(fields, fmt.Sprintf("%s %s -> %s", f.Field, f.Old, f.New))
		}
		return c.Queue + ": " + strings.Join(fields, ", ")
	case queues.Create:
		return c.Queue + ": is in the file and not there"
	default:
		return c.Queue + ": " + c.Why
	}
}

// count is a number of things, in words.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
