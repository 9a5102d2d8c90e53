package doctor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

// An apiError is a refusal of one of Google's REST APIs.
type apiError struct {
	status int
	text   string
}

func (e *apiError) Error() string { return fmt.Sprintf("%d: %s", e.status, e.text) }

// ask sends a request to one of Google's REST APIs and decodes the answer.
func (s *session) ask(ctx context.Context, method, url string, body, answer any) error {
	var text io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		text = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, url, text)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := s.Google.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		var refusal struct {
			Error struct{ Message string }
		}
		_ = json.Unmarshal(b, &refusal) // where it isn't JSON the status must do
		message := cmp.Or(oneLine(refusal.Error.Message), http.StatusText(response.StatusCode))
		return &apiError{response.StatusCode, strings.ToValidUTF8(message[:min(len(message), 500)], "")}
	}
	if err := json.Unmarshal(b, answer); err != nil {
		return fmt.Errorf("the answer of %s: %w", url, err)
	}
	return nil
}

// untold is the finding of a check whose API didn't tell. remedy is for a refusal.
func (s *session) untold(l look, err error, api, remedy string) Finding {
	if _, refused := errors.AsType[*apiError](err); !refused {
		remedy = "curl -sSI " + quote(api) + "  # can it be reached?\ngcloud auth application-default login"
	}
	return l.warn(remedy, "it can't be told: %s", s.words(err))
}

func (a APIs) firestore() string { return cmp.Or(a.Firestore, "https://firestore.googleapis.com") }
func (a APIs) cloudRun() string  { return cmp.Or(a.CloudRun, "https://run.googleapis.com") }
func (a APIs) iam() string       { return cmp.Or(a.IAM, "https://iam.googleapis.com") }

// whoRuns begins a remedy that gives somebody a role.
const whoRuns = "MEMBER=user:$(gcloud config get account)  # or serviceAccount:NAME, whoever runs the worker\n"
