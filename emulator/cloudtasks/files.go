package cloudtasks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"

	"cloud.google.com/go/scheduler/apiv1/schedulerpb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/cronyaml"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/dispatch"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/dispatchyaml"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/queueyaml"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/scheduler"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/service"
	"github.com/latchwork/latchwork/emulator/internal/journal"
	"github.com/latchwork/latchwork/emulator/internal/watch"
)

// defaultLocation is where the queues of an upload go that nobody says a location
// for.
const defaultLocation = "us-central1"

// files are App Engine's files of a server, watched.
type files struct {
	parent   string // the location of what they name
	location string // the id of that
	log      *slog.Logger
	rules    atomic.Pointer[dispatchyaml.Rules]
	open     []*watch.File
}

// parent is the location of what the files name.
func (o *Options) parent() string { return "projects/" + o.Project + "/locations/" + o.Location }

// checkFiles finds what is missing for the files that are to be read.
func (o *Options) checkFiles() error {
	if (o.QueueYAML != "" || o.CronYAML != "") && (o.Project == "" || o.Location == "") {
		return fmt.Errorf("project %q, location %q: queue.yaml and cron.yaml need both for the names of their queues and jobs", o.Project, o.Location)
	}
	if (o.QueueYAML != "" || o.CronYAML != "") && !service.ValidLocation(o.parent()) {
		return fmt.Errorf("project %q, location %q: the names of queues and jobs can have neither: want letters, digits and hyphens, in a project also : and .", o.Project, o.Location)
	}
	return nil
}

func (f *files) watch(path, name string, accept func(text []byte) error) error {
	if path == "" {
		return nil
	}
	file, err := watch.Open(path, &watch.Options{Name: name, Logger: f.log}, accept)
	if err == nil {
		f.open = append(f.open, file)
	}
	return err
}

// close stops watching.
func (f *files) close() {
	for _, file := range f.open {
		file.Close()
	}
}

// watchDispatch reads dispatch.yaml.
func (f *files) watchDispatch(path string) error {
	return f.watch(path, "dispatch.yaml", func(text []byte) error {
		rules, err := dispatchyaml.Parse(text)
		if err == nil {
			f.rules.Store(&rules)
			f.log.Info("dispatch.yaml is read", "rules", len(rules))
		}
		return err
	})
}

// route is the service that dispatch.yaml gives a request to, "" if no rule fits.
func (f *files) route(host, path string) string {
	rules := f.rules.Load()
	if rules == nil {
		return ""
	}
	return rules.Route(host, path)
}

// watchQueues reads queue.yaml: the queues become what it says.
func (f *files) watchQueues(path string, s *service.Service) error {
	return f.watch(path, "queue.yaml", func(text []byte) error {
		file, err := queueyaml.Parse(text)
		if err != nil {
			return err
		}
		if err := f.apply(file, s, f.parent); err != nil { // can be put right while the server runs
			f.log.Error("queue.yaml: not every queue is what it says", "error", err)
		}
		return nil
	})
}

// apply makes the queues of a location what a file says, and logs what changes.
func (f *files) apply(file *queueyaml.File, s *service.Service, parent string) error {
	changes, err := file.Apply(s, parent)
	for _, c := range changes {
		level := slog.LevelInfo
		if strings.HasPrefix(c.What, "paused") {
			level = slog.LevelWarn // its tasks wait
		}
		f.log.Log(context.Background(), level, "queue.yaml: a queue has changed", "queue", c.Queue, "change", c.What)
	}
	return err
}

// upload makes the queues of an app what an uploaded queue.yaml says. They are
// in the location of the files, or in the first one that App Engine had.
func (s *Server) upload(app string, text []byte) error {
	file, err := queueyaml.Parse(text)
	if err != nil {
		return err
	}
	_, project, partitioned := strings.Cut(app, "~") // as in s~project
	if !partitioned {
		project = app
	}
	return s.files.apply(file, s.service, "projects/"+project+"/locations/"+cmp.Or(s.files.location, defaultLocation))
}

// watchCron reads cron.yaml: its jobs are those of the file. Without a path there
// are none.
func (f *files) watchCron(path string, s *scheduler.Scheduler) error {
	if path == "" {
		return s.SetFile(f.parent, nil)
	}
	return f.watch(path, "cron.yaml", func(text []byte) error {
		entries, err := cronyaml.Parse(text)
		if err != nil {
			return err
		}
		jobs := make([]*schedulerpb.Job, len(entries))
		for i, e := range entries {
			jobs[i] = e.Job
		}
		err = s.SetFile(f.parent, jobs)
		if errors.Is(err, scheduler.ErrTaken) { // can be put right while the server runs
			f.log.Error("cron.yaml: its jobs stay what they were", "error", err)
			return nil
		}
		return err
	})
}

// schedule opens Cloud Scheduler, beside the tasks' folder, and reads the files
// that need the server.
func (s *Server) schedule(o *Options, fsync journal.Fsync, d *dispatch.Dispatcher, logger *slog.Logger) (err error) {
	dir := o.Dir
	if dir != "" {
		dir = filepath.Join(dir, "scheduler")
	}
	s.scheduler, err = scheduler.Open(scheduler.Options{
		Dir: dir, Fsync: fsync, Clock: o.Clock, Log: logger,
		Transport: d.Transport, Tokens: d.Tokens, PubSub: o.PubSub,
		AppEngine: func(r *schedulerpb.AppEngineRouting, path string) (string, bool) {
			return d.Address(r.GetService(), r.GetVersion(), r.GetInstance(), r.GetHost(), path)
		},
	})
	if err != nil {
		return err
	}
	if err := s.files.watchQueues(o.QueueYAML, s.service); err != nil {
		return err
	}
	return s.files.watchCron(o.CronYAML, s.scheduler)
}
