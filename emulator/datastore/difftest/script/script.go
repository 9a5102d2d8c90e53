package script

import (
	"fmt"
	"slices"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// A Step is one request.
type Step struct {
	ID      int // by which later steps refer to this one; it stays when others go
	Actor   int // who sends it, in scripts whose transactions interleave; 0 elsewhere
	Request proto.Message
}

// A Script is sent to every server, each time into a fresh project.
type Script struct {
	Origin string // where it comes from, for people: a seed and a number
	// Interleaved says that the actors' transactions may meet, so that servers
	// may rightly answer differently: their histories are compared, not their
	// answers.
	Interleaved bool
	Steps       []Step
}

// Clone returns a copy that shares nothing with s.
func (s Script) Clone() Script {
	s.Steps = slices.Clone(s.Steps)
	for i := range s.Steps {
		s.Steps[i].Request = proto.Clone(s.Steps[i].Request)
	}
	return s
}

// Method is the name of the step's RPC.
func (s Step) Method() string { return Method(s.Request) }

// Method is the name of the RPC that takes the request.
func Method(request proto.Message) string {
	return strings.TrimSuffix(string(request.ProtoReflect().Descriptor().Name()), "Request")
}

func newRequest(method string) (proto.Message, error) {
	switch method {
	case "Lookup":
		return &pb.LookupRequest{}, nil
	case "RunQuery":
		return &pb.RunQueryRequest{}, nil
	case "RunAggregationQuery":
		return &pb.RunAggregationQueryRequest{}, nil
	case "BeginTransaction":
		return &pb.BeginTransactionRequest{}, nil
	case "Commit":
		return &pb.CommitRequest{}, nil
	case "Rollback":
		return &pb.RollbackRequest{}, nil
	case "AllocateIds":
		return &pb.AllocateIdsRequest{}, nil
	case "ReserveIds":
		return &pb.ReserveIdsRequest{}, nil
	}
	return nil, fmt.Errorf("no RPC of Datastore is called %q", method)
}

// String writes the script as Parse reads it: a line for each step, then its
// request in protobuf's text format, indented. Lines that begin with # are
// comments.
func (s Script) String() string {
	var b strings.Builder
	if s.Origin != "" {
		fmt.Fprintf(&b, "# %s\n", s.Origin)
	}
	if s.Interleaved {
		b.WriteString("interleaved\n")
	}
	for _, step := range s.Steps {
		b.WriteString(step.String())
	}
	return b.String()
}

// String writes one step.
func (s Step) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "step %d %s", s.ID, s.Method())
	if s.Actor != 0 {
		fmt.Fprintf(&b, " actor %d", s.Actor)
	}
	b.WriteByte('\n')
	for line := range strings.Lines(prototext.MarshalOptions{Multiline: true, Indent: "  ", AllowPartial: true, EmitASCII: true}.Format(s.Request)) {
		// The package makes its spacing unstable on purpose.
		b.WriteString("  " + strings.Replace(line, ":  ", ": ", 1))
	}
	return b.String()
}

// Parse reads a script. An error names the line.
func Parse(text string) (Script, error) {
	var s Script
	var body strings.Builder
	finish := func() error {
		if len(s.Steps) == 0 {
			return nil
		}
		step := s.Steps[len(s.Steps)-1]
		if err := prototext.Unmarshal([]byte(body.String()), step.Request); err != nil {
			return fmt.Errorf("step %d: %w", step.ID, err)
		}
		body.Reset()
		return nil
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || strings.HasPrefix(words[0], "#"):
		case line[0] == ' ' || line[0] == '\t':
			if len(s.Steps) == 0 {
				return s, fmt.Errorf("line %d: a request before the first step", n)
			}
			body.WriteString(line)
		case words[0] == "interleaved":
			s.Interleaved = true
		case words[0] == "step" && len(words) >= 3:
			if err := finish(); err != nil {
				return s, err
			}
			var step Step
			var err error
			if _, err = fmt.Sscan(words[1], &step.ID); err != nil {
				return s, fmt.Errorf("line %d: the number of a step: %q", n, words[1])
			}
			if slices.ContainsFunc(s.Steps, func(o Step) bool { return o.ID == step.ID }) {
				return s, fmt.Errorf("line %d: a second step %d", n, step.ID)
			}
			if len(words) == 5 && words[3] == "actor" {
				if _, err := fmt.Sscan(words[4], &step.Actor); err != nil {
					return s, fmt.Errorf("line %d: the number of an actor: %q", n, words[4])
				}
			} else if len(words) != 3 {
				return s, fmt.Errorf("line %d: want step NUMBER METHOD [actor NUMBER]: %q", n, line)
			}
			if step.Request, err = newRequest(words[2]); err != nil {
				return s, fmt.Errorf("line %d: %w", n, err)
			}
			s.Steps = append(s.Steps, step)
		default:
			return s, fmt.Errorf("line %d: neither a step nor part of one: %q", n, line)
		}
	}
	return s, finish()
}
