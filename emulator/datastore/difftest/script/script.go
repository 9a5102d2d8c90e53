package script

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// A Step is one request.
type Step struct {
	ID      int // by which later steps refer to this one; it stays when others go
	Actor   int // who sends it, in scripts whose transactions interleave; 0 elsewhere
	Request proto.Message
	Replies []Reply // what a server answered, where the script is a recording
}

// A Reply is one answer of a server, in normal form; the batches of a query are
// one each.
type Reply struct {
	Response proto.Message // nil: an error
	Code     codes.Code
	Message  string
}

// A Script is sent to every server, each time into a fresh project.
type Script struct {
	Origin string // where it comes from, for people: a seed and a number
	// Interleaved says that the actors' transactions may meet, so that servers
	// may rightly answer differently: their histories are compared, not their
	// answers.
	Interleaved bool
	Recorded    string // the server whose replies the steps have; "" when they have none
	Steps       []Step
}

// Clone returns a copy that shares nothing with s.
func (s Script) Clone() Script {
	s.Steps = slices.Clone(s.Steps)
	for i := range s.Steps {
		s.Steps[i].Request = proto.Clone(s.Steps[i].Request)
		s.Steps[i].Replies = slices.Clone(s.Steps[i].Replies)
	}
	return s
}

// Method is the name of the step's RPC.
func (s Step) Method() string { return Method(s.Request) }

// Method is the name of the RPC that takes the request.
func Method(request proto.Message) string {
	return strings.TrimSuffix(string(request.ProtoReflect().Descriptor().Name()), "Request")
}

// messages are an empty request and an empty response of the RPC.
func messages(method string) (request, response proto.Message, err error) {
	switch method {
	case "Lookup":
		return &pb.LookupRequest{}, &pb.LookupResponse{}, nil
	case "RunQuery":
		return &pb.RunQueryRequest{}, &pb.RunQueryResponse{}, nil
	case "RunAggregationQuery":
		return &pb.RunAggregationQueryRequest{}, &pb.RunAggregationQueryResponse{}, nil
	case "BeginTransaction":
		return &pb.BeginTransactionRequest{}, &pb.BeginTransactionResponse{}, nil
	case "Commit":
		return &pb.CommitRequest{}, &pb.CommitResponse{}, nil
	case "Rollback":
		return &pb.RollbackRequest{}, &pb.RollbackResponse{}, nil
	case "AllocateIds":
		return &pb.AllocateIdsRequest{}, &pb.AllocateIdsResponse{}, nil
	case "ReserveIds":
		return &pb.ReserveIdsRequest{}, &pb.ReserveIdsResponse{}, nil
	}
	return nil, nil, fmt.Errorf("no RPC of Datastore is called %q", method)
}

// String writes the script as Parse reads it: a line for each step, then its
// request in protobuf's text format, indented; a line for each reply, then its
// response likewise. Lines that begin with # are comments.
func (s Script) String() string {
	var b strings.Builder
	if s.Origin != "" {
		fmt.Fprintf(&b, "# %s\n", s.Origin)
	}
	if s.Interleaved {
		b.WriteString("interleaved\n")
	}
	if s.Recorded != "" {
		fmt.Fprintf(&b, "recorded %s\n", s.Recorded)
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
	write(&b, s.Request)
	for _, r := range s.Replies {
		if r.Response == nil {
			fmt.Fprintf(&b, "reply %d %q\n", r.Code, r.Message)
			continue
		}
		b.WriteString("reply\n")
		write(&b, r.Response)
	}
	return b.String()
}

// write writes a message, indented.
func write(b *strings.Builder, m proto.Message) {
	text, err := prototext.MarshalOptions{Multiline: true, Indent: "  ", AllowPartial: true, EmitASCII: true}.Marshal(m)
	if err != nil {
		fmt.Fprintf(b, "# %v\n", err)
	}
	for line := range strings.Lines(string(text)) {
		// The package makes its spacing unstable on purpose.
		b.WriteString("  " + strings.Replace(line, ":  ", ": ", 1))
	}
}

// Parse reads a script. An error names the line.
func Parse(text string) (Script, error) {
	p := parser{}
	for line := range strings.Lines(text) {
		p.n++
		if err := p.line(line); err != nil {
			return p.s, fmt.Errorf("line %d: %w", p.n, err)
		}
	}
	return p.s, p.finish()
}

type parser struct {
	s    Script
	n    int           // of the line
	open proto.Message // what the indented lines are about; nil: nothing takes them
	body strings.Builder
}

// finish takes up the indented lines so far.
func (p *parser) finish() error {
	if p.open == nil {
		return nil
	}
	err := prototext.Unmarshal([]byte(p.body.String()), p.open)
	p.open = nil
	p.body.Reset()
	return err
}

func (p *parser) line(line string) error {
	words := strings.Fields(line)
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return nil
	}
	if line[0] == ' ' || line[0] == '\t' {
		if p.open == nil {
			return errors.New("a message that belongs to no step and no reply")
		}
		p.body.WriteString(line)
		return nil
	}
	if err := p.finish(); err != nil {
		return err
	}
	switch {
	case words[0] == "interleaved":
		p.s.Interleaved = true
	case words[0] == "recorded" && len(words) == 2:
		p.s.Recorded = words[1]
	case words[0] == "step" && len(words) >= 3:
		return p.step(words[1:])
	case words[0] == "reply" && len(p.s.Steps) > 0:
		return p.reply(strings.TrimSpace(strings.TrimPrefix(line, "reply")))
	default:
		return fmt.Errorf("neither a step nor part of one: %q", line)
	}
	return nil
}

// step begins one: NUMBER METHOD [actor NUMBER].
func (p *parser) step(words []string) error {
	var step Step
	var err error
	if _, err = fmt.Sscan(words[0], &step.ID); err != nil {
		return fmt.Errorf("the number of a step: %q", words[0])
	}
	if slices.ContainsFunc(p.s.Steps, func(o Step) bool { return o.ID == step.ID }) {
		return fmt.Errorf("a second step %d", step.ID)
	}
	if len(words) == 4 && words[2] == "actor" {
		if _, err := fmt.Sscan(words[3], &step.Actor); err != nil {
			return fmt.Errorf("the number of an actor: %q", words[3])
		}
	} else if len(words) != 2 {
		return fmt.Errorf("want step NUMBER METHOD [actor NUMBER]: %q", words)
	}
	if step.Request, _, err = messages(words[1]); err != nil {
		return err
	}
	p.s.Steps = append(p.s.Steps, step)
	p.open = step.Request
	return nil
}

// reply begins one: CODE "TEXT", or a response in the lines that follow.
func (p *parser) reply(rest string) error {
	step := &p.s.Steps[len(p.s.Steps)-1]
	var r Reply
	if rest != "" {
		if _, err := fmt.Sscanf(rest, "%d %q", &r.Code, &r.Message); err != nil {
			return fmt.Errorf("want reply CODE \"TEXT\": %q", rest)
		}
	} else {
		var err error
		if _, r.Response, err = messages(step.Method()); err != nil {
			return err
		}
		p.open = r.Response
	}
	step.Replies = append(step.Replies, r)
	return nil
}
