package filter_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2beta3/cloudtaskspb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/filter"
)

var descriptor = (*cloudtaskspb.Queue)(nil).ProtoReflect().Descriptor()

func queue() *cloudtaskspb.Queue {
	return &cloudtaskspb.Queue{
		Name:        "projects/p/locations/l/queues/Mail-1",
		State:       cloudtaskspb.Queue_PAUSED,
		RateLimits:  &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 2.5, MaxConcurrentDispatches: 7},
		RetryConfig: &cloudtaskspb.RetryConfig{MinBackoff: durationpb.New(1500 * time.Millisecond)},
		PurgeTime:   timestamppb.New(time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)),
		HttpTarget: &cloudtaskspb.HttpTarget{HeaderOverrides: []*cloudtaskspb.HttpTarget_HeaderOverride{
			{Header: &cloudtaskspb.HttpTarget_Header{Key: "A", Value: "1"}},
			{Header: &cloudtaskspb.HttpTarget_Header{Key: "B", Value: "2"}},
		}},
	}
}

func TestMatches(t *testing.T) {
	q := queue().ProtoReflect()
	for text, want := range map[string]bool{
		"":                 true,
		"  \n":             true,
		"state: PAUSED":    true,
		"state:paused":     true,
		"state=RUNNING":    false,
		"state!=RUNNING":   true,
		`state = "PAUSED"`: true,
		"NOT state=PAUSED": false,
		"-state=PAUSED":    false,
		"- state=RUNNING":  true,
		"name:mail":        true,
		"name=projects/p/locations/l/queues/mail-1":   true,
		"name = 'projects/p/locations/l/queues/mail'": false,
		`name =~ "queues/M.*-\\d$"`:                   true,
		`name !~ "queues/m"`:                          true,
		"name > projects/p/locations/l/queues/l":      true,
		"rateLimits.maxDispatchesPerSecond >= 2.5":    true,
		"rate_limits.max_dispatches_per_second < 2.5": false,
		"rate_limits.max_concurrent_dispatches : 7":   true,
		"retryConfig.minBackoff > 1s":                 true,
		"retryConfig.minBackoff = 1.5s":               true,
		"retry_config.max_backoff = 0s":               false, // isn't there
		"retry_config.max_backoff != 0s":              true,
		"retry_config.max_backoff:*":                  false,
		"retry_config:*":                              true,
		"retry_config.max_attempts:*":                 false,
		"rate_limits.max_concurrent_dispatches:*":     true,
		"purge_time:*":                                true,
		"purgeTime >= 2026-01-31":                     true,
		"purgeTime = 2026-01-31T12:00:00Z":            true,
		`purgeTime > "2026-01-31T12:00:00Z"`:          false,
		"httpTarget.headerOverrides.header.key = B":   true,
		"httpTarget.headerOverrides.header.key = C":   false,
		"httpTarget.headerOverrides:*":                true,
		"state = (RUNNING OR PAUSED)":                 true,
		"state = (RUNNING OR DISABLED)":               false,
		"name : (mail AND queues)":                    true,
		"name : (mail AND missing)":                   false,
		"name : ((x OR mail) AND (y OR queues))":      true,
		"state=PAUSED name:mail":                      true,
		"state=PAUSED AND name:none":                  false,
		"state=PAUSED OR name:none AND name:none":     false, // OR binds closer
		"(state=PAUSED) OR (name:none AND name:none)": true,
		"NOT state=PAUSED OR name:mail":               true,
		"NOT (state=PAUSED OR name:mail)":             false,
		"NOT (NOT (state=PAUSED))":                    true,
		`"state" = PAUSED`:                            true,
		"stats.tasks_count >= 0":                      false, // isn't there
		"type = PUSH OR appEngineHttpQueue:*":         false,
	} {
		f, err := filter.Parse(text, descriptor)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := f.Matches(q); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	for text, want := range map[string]string{
		"state":                                  "at position 5: expected an operator (= != < <= > >= : =~ !~), found the end",
		"PAUSED":                                 `at position 0: "PAUSED" is not a field of a Queue`,
		"state.x = 1":                            `at position 0: "state.x" is not a field of a Queue`,
		"state =":                                "at position 7: expected a value, found the end",
		"state = OFF":                            `at position 8: state is compared with = != or : and one of its names, not with "OFF"`,
		"state > PAUSED":                         `at position 8: state is compared with = != or : and one of its names, not with "PAUSED"`,
		"state =~ P":                             `at position 9: state is compared with = and the like, being no text, not with "P"`,
		"name =~ '('":                            `at position 8: name is compared with a regular expression, not with "("`,
		"state=PAUSED AND":                       "at position 16: expected a field, found the end",
		"state=PAUSED OR OR":                     `at position 16: "OR" is not a field of a Queue`,
		"(state=PAUSED":                          "at position 13: expected ), found the end",
		"state=PAUSED)":                          `at position 12: expected AND, OR or the end, found ")"`,
		"state=(PAUSED RUNNING)":                 `at position 14: expected ), found "RUNNING"`,
		`name="x`:                                "at position 5: the text in quotes has no end",
		"= PAUSED":                               `at position 0: expected a field, found "="`,
		"~":                                      "at position 0: '~' is out of place",
		"purge_time = today":                     `at position 13: purge_time is compared with a time as 2026-01-31T12:00:00Z or a day as 2026-01-31, not with "today"`,
		"retry_config.min_backoff = soon":        `at position 27: min_backoff is compared with a duration as 1.5s or 2h, not with "soon"`,
		"rate_limits.max_burst_size = x":         `at position 29: max_burst_size is compared with a number, not with "x"`,
		"rate_limits = x":                        `at position 14: rate_limits is compared with :* only (its fields are max_burst_size, max_concurrent_dispatches, max_dispatches_per_second), not with "x"`,
		strings.Repeat("(", 40) + "state=PAUSED": "at position 32: a filter has at most 32 parentheses in parentheses",
		"state=" + strings.Repeat("(", 40):       "at position 38: a filter has at most 32 parentheses in parentheses",
		strings.Repeat(" ", filter.MaxLength+1):  "at position 8192: a filter has at most 8192 bytes, not 8193",
		"name=\xff":                              "at position 0: a filter must be UTF-8",
		"state=" + strings.Repeat("é", 50) + "?": `at position 6: state is compared with = != or : and one of its names, not with "` + strings.Repeat("é", 40) + `…"`,
	} {
		_, err := filter.Parse(text, descriptor)
		if err == nil || err.Error() != want {
			t.Errorf("%.60s\n got %v\nwant %s", text, err, want)
		}
	}
}

// FuzzParse: whatever the filter, the answer is a filter or an error with a
// position in it, and a filter can be asked.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"state: PAUSED", `NOT name =~ "a.*" OR -state!=(RUNNING OR PAUSED)`, "purge_time:* AND (retryConfig.minBackoff>=1s)",
		"httpTarget.headerOverrides.header.key='B'", "rateLimits.maxBurstSize<1e3 stats:*", "((((", `"`, "a=b=c",
	} {
		f.Add(seed)
	}
	q := queue().ProtoReflect()
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := filter.Parse(text, descriptor)
		if err == nil {
			parsed.Matches(q)
			return
		}
		if e, ok := errors.AsType[*filter.Error](err); !ok || e.Position < 0 || e.Position > len(text) || e.Rule == "" {
			t.Errorf("%q: %#v", text, err)
		}
	})
}
