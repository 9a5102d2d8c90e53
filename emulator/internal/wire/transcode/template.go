package transcode

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
)

// A template is a path template of google.api.http: literals, * for one
// segment, ** for all that follow, {field=…} around some of them, and a verb.
type template struct {
	segments []segment
	verb     string
	vars     []variable
}

type segment struct {
	kind    kind
	literal string
}

// kind is in order of precedence.
type kind int

const (
	literal kind = iota
	one          // *
	rest         // **
)

// A variable is the field that some segments are the value of.
type variable struct {
	field    string
	from, to int // segments; the last one may be **
}

// parseTemplate reads a template:
//
//	Template  = "/" Segments [ ":" LITERAL ]
//	Segments  = Segment { "/" Segment }
//	Segment   = "*" | "**" | LITERAL | "{" FieldPath [ "=" Segments ] "}"
//	FieldPath = IDENT { "." IDENT }
func parseTemplate(s string) (*template, error) {
	p := &parser{rest: s}
	err := p.parse()
	if err != nil {
		return nil, fmt.Errorf("path template %q: %w", s, err)
	}
	return &p.t, nil
}

type parser struct {
	t    template
	rest string
}

func (p *parser) parse() error {
	if !p.eat("/") {
		return fmt.Errorf("must begin with /")
	}
	if err := p.segments(true); err != nil {
		return err
	}
	if p.eat(":") {
		if p.t.verb = p.word(); p.t.verb == "" {
			return fmt.Errorf("a verb must follow the colon")
		}
	}
	if p.rest != "" {
		return fmt.Errorf("%q is out of place", p.rest)
	}
	for i, s := range p.t.segments {
		if s.kind == rest && i < len(p.t.segments)-1 {
			return fmt.Errorf("** must be the last segment")
		}
	}
	return nil
}

// segments reads one segment or more; variables don't nest.
func (p *parser) segments(variables bool) error {
	for {
		switch {
		case p.eat("**"):
			p.add(segment{kind: rest})
		case p.eat("*"):
			p.add(segment{kind: one})
		case variables && p.eat("{"):
			if err := p.variable(); err != nil {
				return err
			}
		default:
			word := p.word()
			if word == "" {
				return fmt.Errorf("a segment must not be empty")
			}
			p.add(segment{literal: word})
		}
		if !p.eat("/") {
			return nil
		}
	}
}

func (p *parser) add(s segment) { p.t.segments = append(p.t.segments, s) }

func (p *parser) variable() error {
	v := variable{field: p.word(), from: len(p.t.segments)}
	if v.field == "" {
		return fmt.Errorf("a variable must name a field")
	}
	if p.eat("=") {
		if err := p.segments(false); err != nil {
			return err
		}
	} else {
		p.add(segment{kind: one})
	}
	if !p.eat("}") {
		return fmt.Errorf("the variable %s has no }", v.field)
	}
	v.to = len(p.t.segments)
	p.t.vars = append(p.t.vars, v)
	return nil
}

func (p *parser) eat(token string) bool {
	rest, ok := strings.CutPrefix(p.rest, token)
	p.rest = rest
	return ok
}

// word reads up to the next character that means something.
func (p *parser) word() string {
	n := strings.IndexAny(p.rest, "/{}=*:")
	if n < 0 {
		n = len(p.rest)
	}
	word := p.rest[:n]
	p.rest = p.rest[n:]
	return word
}

// match returns the values of the variables. path holds the segments of an
// escaped path, without the verb.
func (t *template) match(path []string) (values []string, ok bool) {
	open := len(t.segments) > 0 && t.segments[len(t.segments)-1].kind == rest
	if !open && len(path) != len(t.segments) || open && len(path) < len(t.segments)-1 {
		return nil, false
	}
	for i, s := range path {
		if s == "" {
			return nil, false
		}
		if i < len(t.segments) && t.segments[i].kind == literal {
			if decoded, err := url.PathUnescape(s); err != nil || decoded != t.segments[i].literal {
				return nil, false
			}
		}
	}
	for _, v := range t.vars {
		to := v.to
		if to == len(t.segments) {
			to = len(path)
		}
		value, err := t.value(v, path[v.from:to])
		if err != nil {
			return nil, false
		}
		values = append(values, value)
	}
	return values, true
}

// value decodes what a variable matched. In one that may span segments, encoded
// slashes stay encoded: they are not what separates segments.
func (t *template) value(v variable, path []string) (string, error) {
	if v.to == v.from+1 && t.segments[v.from].kind != rest {
		return url.PathUnescape(path[0])
	}
	decoded := make([]string, len(path))
	for i, s := range path {
		s = strings.ReplaceAll(strings.ReplaceAll(s, "%2F", "%252F"), "%2f", "%252f")
		var err error
		if decoded[i], err = url.PathUnescape(s); err != nil {
			return "", err
		}
	}
	return strings.Join(decoded, "/"), nil
}

// precedes orders templates by precedence: at the first difference a literal
// goes before *, and * before **; a longer one before its beginning.
func (t *template) precedes(u *template) int {
	for i := range min(len(t.segments), len(u.segments)) {
		if c := cmp.Compare(t.segments[i].kind, u.segments[i].kind); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(u.segments), len(t.segments))
}

// shape is the same for templates that match the same paths.
func (t *template) shape() string {
	var b strings.Builder
	for _, s := range t.segments {
		b.WriteString("/" + [...]string{s.literal, "*", "**"}[s.kind])
	}
	return b.String() + ":" + t.verb
}
