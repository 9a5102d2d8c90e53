package transcode_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/latchwork/latchwork/emulator/internal/wire/transcode"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestRaw(t *testing.T) {
	var intercepted []string
	h, err := transcode.New(&transcode.Options{Interceptors: []grpc.UnaryServerInterceptor{
		func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			intercepted = append(intercepted, info.FullMethod)
			return next(ctx, req)
		},
	}}, func(grpc.ServiceRegistrar) {})
	if err != nil {
		t.Fatal(err)
	}
	raw := h.Raw("/some.Service/Method", func(ctx context.Context, r *http.Request, body []byte) (proto.Message, error) {
		switch string(body) {
		case "refuse":
			return nil, status.Error(codes.AlreadyExists, "it exists")
		case "panic":
			panic("here")
		}
		md, _ := metadata.FromIncomingContext(ctx)
		return wrapperspb.String(r.URL.Path + string(body) + strings.Join(md.Get("x-own"), "")), nil
	})
	for _, test := range []struct {
		query, body string
		code        int
		want        string
	}{
		{"", "<any>", 200, `"/path<any>mine"`},
		{"?alt=json&unknown=1", "", 200, `"/pathmine"`},
		{"?alt=xml", "", 400, `Invalid value at 'alt'`},
		{"", "refuse", 409, `"status": "ALREADY_EXISTS"`},
		{"?$alt=proto", "refuse", 409, "it exists"},
		{"", "panic", 500, "panic in the emulator, please report it: here"},
	} {
		w := send(t, raw, "POST", "/path"+test.query, test.body, "X-Own", "mine", "Content-Type", "text/anything")
		if w.Code != test.code || !strings.Contains(w.Body.String(), test.want) {
			t.Errorf("%s with %q: %d %s", test.query, test.body, w.Code, w.Body)
		}
	}
	if w := send(t, raw, "POST", "/path", "x", "Content-Encoding", "br"); w.Code != 400 {
		t.Errorf("an unknown encoding: %d %s", w.Code, w.Body)
	}
	if len(intercepted) != 5 || intercepted[0] != "/some.Service/Method" {
		t.Errorf("interceptors have seen %q", intercepted)
	}
}
