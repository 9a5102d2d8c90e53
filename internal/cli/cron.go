package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	scheduler "cloud.google.com/go/scheduler/apiv1"
	"cloud.google.com/go/scheduler/apiv1/schedulerpb"
	"google.golang.org/api/iterator"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
	"github.com/latchwork/latchwork/tasks"
)

type cronCommand struct {
	List cronList `cmd:"" default:"withargs" help:"List the jobs, with their next three times and how their last attempt ended."`
	Run  cronRun  `cmd:"" help:"Run a job now, whatever its schedule says."`
}

type cronList struct {
	services
}

// shownTimes is how many times of a job are shown.
const shownTimes = 3

// Run prints a table.
func (c *cronList) Run(ctx context.Context, env Env) error {
	return c.withScheduler(ctx, env, func(client *scheduler.CloudSchedulerClient, parent string) error {
		table := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "NAME\tSTATE\tSCHEDULE\tTARGET\tLAST\tNEXT")
		jobs := client.ListJobs(ctx, &schedulerpb.ListJobsRequest{Parent: parent})
		for {
			job, err := jobs.Next()
			if errors.Is(err, iterator.Done) {
				return table.Flush()
			}
			if err != nil {
				return errors.Join(fmt.Errorf("list the jobs of %s: %w", parent, err), table.Flush())
			}
			fmt.Fprintf(table, "%s\t%s\t%s (%s)\t%s\t%s\t%s\n", strings.TrimPrefix(job.GetName(), parent+"/jobs/"), job.GetState(),
				job.GetSchedule(), job.GetTimeZone(), targetOf(job), lastOf(job), nextOf(job))
		}
	})
}

func targetOf(job *schedulerpb.Job) string {
	switch {
	case job.GetHttpTarget() != nil:
		return job.GetHttpTarget().GetHttpMethod().String() + " " + job.GetHttpTarget().GetUri()
	case job.GetAppEngineHttpTarget() != nil:
		t := job.GetAppEngineHttpTarget()
		service := cmp.Or(t.GetAppEngineRouting().GetService(), "default")
		return t.GetHttpMethod().String() + " " + t.GetRelativeUri() + " of service " + service
	}
	return "publish to " + job.GetPubsubTarget().GetTopicName()
}

// lastOf says how the last attempt ended.
func lastOf(job *schedulerpb.Job) string {
	switch s := job.GetStatus(); {
	case job.GetLastAttemptTime() == nil:
		return "never"
	case s == nil:
		return "running"
	case s.GetCode() == 0:
		return "ok"
	default:
		return codes.Code(s.GetCode()).String() + ": " + oneLine(s.GetMessage(), 60)
	}
}

// nextOf lists the next times: the first is the server's, which may be a retry.
func nextOf(job *schedulerpb.Job) string {
	if job.GetState() != schedulerpb.Job_ENABLED {
		return "-"
	}
	first := job.GetScheduleTime().AsTime()
	times, err := cloudtasks.NextTimes(job.GetSchedule(), job.GetTimeZone(), first, shownTimes-1)
	if err != nil {
		return first.Format(time.RFC3339)
	}
	const layout = "2006-01-02 15:04 MST"
	words := []string{first.In(times[0].Location()).Format(layout)}
	for _, t := range times {
		words = append(words, t.Format(layout))
	}
	return strings.Join(words, ", ")
}

type cronRun struct {
	services
	Name string `arg:"" help:"The job's name, as cron list prints it."`
}

// Run starts one attempt; it doesn't wait for its end.
func (c *cronRun) Run(ctx context.Context, env Env) error {
	return c.withScheduler(ctx, env, func(client *scheduler.CloudSchedulerClient, parent string) error {
		name := c.Name
		if !strings.Contains(name, "/") {
			name = parent + "/jobs/" + name
		}
		job, err := client.RunJob(ctx, &schedulerpb.RunJobRequest{Name: name})
		if status.Code(err) == codes.NotFound {
			return fmt.Errorf("no job has the name %q (latchwork cron list shows them)", c.Name)
		}
		if err != nil {
			return fmt.Errorf("run %s: %w", name, err)
		}
		fmt.Fprintf(env.Stdout, "started %s: %s\n", name, targetOf(job))
		return nil
	})
}

// withScheduler connects to Cloud Scheduler: the emulator's, or the real one where
// a project is configured and no emulator.
func (s *services) withScheduler(ctx context.Context, env Env, f func(client *scheduler.CloudSchedulerClient, parent string) error) error {
	parent, err := s.locate(ctx, env)
	if err != nil {
		return err
	}
	client, err := scheduler.NewCloudSchedulerClient(ctx, tasks.EmulatorOptions(s.CloudTasksHost)...)
	if err != nil {
		return fmt.Errorf("connect to Cloud Scheduler: %w", err)
	}
	return errors.Join(f(client, parent), client.Close())
}
