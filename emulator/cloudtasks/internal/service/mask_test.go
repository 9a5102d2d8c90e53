package service

import (
	"strings"
	"testing"

	"cloud.google.com/go/cloudtasks/apiv2beta3/cloudtaskspb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/apitest"
)

func TestUpdateApply(t *testing.T) {
	const old = `{"name": "n", "rateLimits": {"maxDispatchesPerSecond": 1, "maxBurstSize": 2},
		"httpTarget": {"httpMethod": "PUT", "oauthToken": {"serviceAccountEmail": "a", "scope": "s"}}}`
	for _, tt := range []struct{ what, from, mask, want string }{
		{"a part", `{"rateLimits": {"maxBurstSize": 3}}`, "rateLimits.maxBurstSize",
			`{"name": "n", "rateLimits": {"maxDispatchesPerSecond": 1, "maxBurstSize": 3}, "httpTarget": {"httpMethod": "PUT", "oauthToken": {"serviceAccountEmail": "a", "scope": "s"}}}`},
		{"a part that isn't there", `{}`, "rateLimits.maxBurstSize",
			`{"name": "n", "rateLimits": {"maxDispatchesPerSecond": 1}, "httpTarget": {"httpMethod": "PUT", "oauthToken": {"serviceAccountEmail": "a", "scope": "s"}}}`},
		{"a whole", `{"rateLimits": {"maxBurstSize": 3}}`, "rateLimits",
			`{"name": "n", "rateLimits": {"maxBurstSize": 3}, "httpTarget": {"httpMethod": "PUT", "oauthToken": {"serviceAccountEmail": "a", "scope": "s"}}}`},
		{"all parts of what isn't there", `{"httpTarget": {"httpMethod": "GET"}}`, "httpTarget.oauthToken.serviceAccountEmail,httpTarget.oauthToken.scope",
			`{"name": "n", "rateLimits": {"maxDispatchesPerSecond": 1, "maxBurstSize": 2}, "httpTarget": {"httpMethod": "PUT"}}`},
		{"another member of a oneof", `{"httpTarget": {"oidcToken": {"audience": "x"}}}`, "httpTarget.oidcToken.audience",
			`{"name": "n", "rateLimits": {"maxDispatchesPerSecond": 1, "maxBurstSize": 2}, "httpTarget": {"httpMethod": "PUT", "oidcToken": {"audience": "x"}}}`},
		{"a part of nothing on both sides", `{}`, "retryConfig.maxAttempts", old},
		{"what is output only", `{"name": "x", "state": "PAUSED"}`, "name,state", old},
		{"everything", `{"taskTtl": "5s"}`, "", `{"name": "n", "taskTtl": "5s"}`},
		{"everything, by its name", `{"taskTtl": "5s"}`, "*", `{"name": "n", "taskTtl": "5s"}`},
	} {
		parse := func(text string) *cloudtaskspb.Queue {
			q := new(cloudtaskspb.Queue)
			if err := protojson.Unmarshal([]byte(text), q); err != nil {
				t.Fatal(err)
			}
			return q
		}
		mask := new(fieldmaskpb.FieldMask)
		switch tt.mask {
		case "":
		case "*":
			mask.Paths = []string{"*"}
		default:
			if err := protojson.Unmarshal([]byte(`"`+tt.mask+`"`), mask); err != nil {
				t.Fatal(err)
			}
		}
		from := parse(tt.from)
		before := proto.CloneOf(from)
		u, err := NewUpdate(from, mask, "http_target", "rate_limits", "retry_config", "task_ttl")
		if err != nil {
			t.Errorf("%s: %v", tt.what, err)
			continue
		}
		got := parse(old)
		u.Apply(got)
		if diff := cmp.Diff(parse(tt.want), got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.what, diff)
		}
		if !proto.Equal(from, before) {
			t.Errorf("%s: the request has changed to %v", tt.what, from)
		}
	}
}

// FuzzUpdate: any mask is refused as INVALID_ARGUMENT, or can be applied and
// selected with, and takes over nothing that it doesn't name.
func FuzzUpdate(f *testing.F) {
	for _, seed := range []string{"", "*", "rate_limits", "rate_limits.max_burst_size", "http_target.uri_override.host,http_target.oidc_token",
		"http_target.header_overrides.header", "name.x", "retry_config.min_backoff.seconds", "a..b", ".", "stats.tasks_count,*", "app_engine_http_queue"} {
		f.Add(seed, []byte(nil))
	}
	f.Fuzz(func(t *testing.T, paths string, b []byte) {
		from, to := new(cloudtaskspb.Queue), new(cloudtaskspb.Queue)
		if proto.Unmarshal(b, from) != nil {
			return
		}
		apitest.Fill(to, len(b))
		before := proto.CloneOf(to)
		mask := new(fieldmaskpb.FieldMask)
		if paths != "" {
			mask.Paths = strings.Split(paths, ",")
		}
		if _, err := CheckRead(mask, from, "stats"); err == nil {
			Select(to, mask, "stats")
		}
		u, err := NewUpdate(from, mask, "app_engine_http_queue", "http_target", "rate_limits", "retry_config")
		if err != nil {
			if status.Code(err) != codes.InvalidArgument {
				t.Error(err)
			}
			return
		}
		u.Apply(to)
		u.sets("rate_limits.max_burst_size")
		if !proto.Equal(to.GetTaskTtl(), before.GetTaskTtl()) || to.GetName() != before.GetName() ||
			!strings.Contains(paths, "rate_limits") && paths != "" && paths != "*" && !proto.Equal(to.GetRateLimits(), before.GetRateLimits()) {
			t.Errorf("mask %q made of %v %v", paths, before, to)
		}
	})
}
