package cloudtasks

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/service"
	"github.com/latchwork/latchwork/emulator/internal/wire/transcode"
)

// roots are the first elements of the API's paths. Firebase's clients leave the
// version out, and the URL of tasks as well.
var roots = []string{"/v2/", "/v2beta3/", "/v2beta2/", "/v1/", "/projects/"}

// endpoints is the HTTP/1.1 side: the API's versions, the identity provider, and
// what the emulator has of its own. A nil admin isn't there.
func (s *Server) endpoints(api *transcode.Handler, tokens, admin http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "Ok\n")
	})
	mux.Handle("/", tokens)
	mux.Handle("POST /api/queue/update", api.Raw("/google.cloud.tasks.v2beta2.CloudTasks/UploadQueueYaml", s.uploadQueueYAML))
	if admin != nil {
		mux.Handle("/_latchwork/", admin)
	}
	buffer := api.Raw("/google.cloud.tasks.v2.CloudTasks/BufferTask", s.bufferTask)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A mux would redirect paths that aren't clean; clients of the API are
		// to get an answer in their dialect.
		path := r.URL.EscapedPath()
		for _, root := range roots {
			if !strings.HasPrefix(path, root) {
				continue
			}
			if root == "/projects/" {
				r = under(r.WithContext(service.WithUnaddressed(r.Context())), "/v2")
			}
			if r.Method == http.MethodPost && strings.HasSuffix(path, ":buffer") {
				buffer.ServeHTTP(w, r)
			} else {
				api.ServeHTTP(w, r)
			}
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// under returns the request with something in front of its path.
func under(r *http.Request, prefix string) *http.Request {
	moved := *r
	moved.URL = new(url.URL)
	*moved.URL = *r.URL
	moved.URL.Path = prefix + r.URL.Path
	if r.URL.RawPath != "" {
		moved.URL.RawPath = prefix + r.URL.RawPath
	}
	return &moved
}

// bufferTask is the one method that only HTTP has:
// VERSION/QUEUE/tasks/ID:buffer, where the ID and its slash may be missing. gcloud
// leaves out the ID, which no path template can match.
func (s *Server) bufferTask(_ context.Context, r *http.Request, body []byte) (proto.Message, error) {
	path := strings.TrimSuffix(r.URL.Path, ":buffer")
	version, path, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	queue, id, _ := strings.Cut(path, "/tasks")
	id = strings.TrimPrefix(id, "/")
	contentType, body := bufferBody(r.Header.Get("Content-Type"), body)
	for _, v := range s.versions {
		if v.name == version {
			return v.buffer(queue, id, contentType, body)
		}
	}
	return nil, service.Invalid("There is no version %q of the API that tasks can be buffered with.", version)
}

// uploadQueueYAML is how old versions of gcloud deploy a queue.yaml, which is the
// body.
func (s *Server) uploadQueueYAML(_ context.Context, r *http.Request, body []byte) (proto.Message, error) {
	app := r.URL.Query().Get("app_id")
	if app == "" {
		return nil, service.Invalid("The parameter app_id is required.")
	}
	if err := s.upload(app, body); err != nil {
		return nil, service.Invalid("queue.yaml: %v", err)
	}
	return new(emptypb.Empty), nil
}

// bufferBody returns what is to be the task's body: the HttpBody in a
// BufferTaskRequest, or anything else as it came.
func bufferBody(contentType string, body []byte) (string, []byte) {
	if !strings.HasPrefix(contentType, "application/json") {
		return contentType, body
	}
	var request struct {
		Body json.RawMessage `json:"body"`
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&request); err != nil || d.More() {
		return contentType, body // it is the body itself
	}
	if request.Body == nil {
		return "", nil
	}
	b := new(httpbody.HttpBody)
	if err := protojson.Unmarshal(request.Body, b); err != nil {
		return contentType, body
	}
	return b.GetContentType(), b.GetData()
}
