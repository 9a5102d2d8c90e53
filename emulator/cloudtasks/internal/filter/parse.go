package filter

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Bounds of filters.
const (
	MaxLength = 8 << 10 // bytes
	MaxDepth  = 32      // parentheses in parentheses
)

// An Error says why a filter can't be used.
type Error struct {
	Position int    // in bytes, from 0
	Rule     string // what is wrong there
}

func (e *Error) Error() string { return fmt.Sprintf("at position %d: %s", e.Position, e.Rule) }

// Parse reads a filter of messages of a type. An empty one is nil and matches
// everything; errors are of type *Error.
func Parse(text string, of protoreflect.MessageDescriptor) (*Filter, error) {
	p := &parser{text: text, of: of}
	switch {
	case len(text) > MaxLength:
		p.fail(MaxLength, "a filter has at most %d bytes, not %d", MaxLength, len(text))
	case !utf8.ValidString(text):
		p.fail(0, "a filter must be UTF-8")
	}
	if p.next(); p.kind == end && p.err == nil {
		return nil, nil
	}
	root := p.conjunction(0)
	if p.err == nil && p.kind != end {
		p.expected("AND, OR or the end")
	}
	if p.err != nil {
		return nil, p.err
	}
	return &Filter{root}, nil
}

type kind int

const (
	end kind = iota
	word
	quoted
	operator
	open
	shut
)

// A parser reads one token ahead. After the first error it reads no more.
type parser struct {
	text string
	of   protoreflect.MessageDescriptor
	at   int // where the text after the token begins
	err  *Error

	kind  kind
	start int // of the token
	token string
}

func (p *parser) fail(at int, rule string, args ...any) {
	if p.err == nil {
		p.err = &Error{Position: at, Rule: fmt.Sprintf(rule, args...)}
	}
	p.kind, p.token, p.at = end, "", len(p.text)
}

func (p *parser) expected(what string) {
	got := "the end"
	if p.kind != end {
		got = excerpt(p.token)
	}
	p.fail(p.start, "expected %s, found %s", what, got)
}

// excerpt quotes the beginning of a text.
func excerpt(s string) string {
	if r := []rune(s); len(r) > 40 {
		s = string(r[:40]) + "…"
	}
	return strconv.Quote(s)
}

const (
	space  = " \t\r\n"
	breaks = space + `()"'=<>!~:`
)

// next reads a token.
func (p *parser) next() { p.read(breaks) }

// nextValue reads a token behind an operator, where a word may hold colons and
// the like: a time does.
func (p *parser) nextValue() { p.read(space + `()"'`) }

func (p *parser) read(breaks string) {
	for p.at < len(p.text) && strings.IndexByte(space, p.text[p.at]) >= 0 {
		p.at++
	}
	p.start, p.kind, p.token = p.at, end, ""
	if p.at == len(p.text) {
		return
	}
	rest := p.text[p.at:]
	switch c := rest[0]; {
	case c == '(':
		p.take(open, 1)
	case c == ')':
		p.take(shut, 1)
	case c == '"' || c == '\'':
		p.quote(rest)
	case strings.IndexByte(breaks, c) >= 0:
		for _, op := range []string{"!=", "<=", ">=", "=~", "!~", "=", "<", ">", ":"} {
			if strings.HasPrefix(rest, op) {
				p.take(operator, len(op))
				return
			}
		}
		p.fail(p.at, "%q is out of place", c)
	default:
		n := strings.IndexAny(rest, breaks)
		if n < 0 {
			n = len(rest)
		}
		p.take(word, n)
	}
}

func (p *parser) take(k kind, n int) {
	p.kind, p.token = k, p.text[p.at:p.at+n]
	p.at += n
}

// quote reads a text in quotes, in which a backslash stands before quotes and
// backslashes.
func (p *parser) quote(rest string) {
	var b strings.Builder
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == rest[0]:
			p.kind, p.token = quoted, b.String()
			p.at += i + 1
			return
		case c == '\\' && i+1 < len(rest) && strings.IndexByte(`\"'`, rest[i+1]) >= 0:
			i++
			b.WriteByte(rest[i])
		default:
			b.WriteByte(c)
		}
	}
	p.fail(p.at, "the text in quotes has no end")
}

func (p *parser) is(keyword string) bool { return p.kind == word && p.token == keyword }

// conjunction = disjunction { ["AND"] disjunction }
func (p *parser) conjunction(depth int) node {
	all := and{p.disjunction(depth)}
	for p.kind != end && p.kind != shut {
		if p.is("AND") {
			p.next()
		}
		all = append(all, p.disjunction(depth))
	}
	return all
}

// disjunction = term { "OR" term }
func (p *parser) disjunction(depth int) node {
	any := or{p.term(depth)}
	for p.is("OR") {
		p.next()
		any = append(any, p.term(depth))
	}
	return any
}

// term = [ "NOT" | "-" ] ( "(" conjunction ")" | comparison )
func (p *parser) term(depth int) node {
	negated := false
	if p.is("NOT") {
		negated = true
		p.next()
	} else if rest, minus := strings.CutPrefix(p.token, "-"); minus && p.kind == word {
		negated = true
		if p.token, p.start = rest, p.start+1; rest == "" {
			p.next()
		}
	}
	n := p.group(depth)
	if negated {
		return not{n}
	}
	return n
}

func (p *parser) group(depth int) node {
	if p.kind != open {
		return p.comparison(depth)
	}
	if depth == MaxDepth {
		p.fail(p.start, "a filter has at most %d parentheses in parentheses", MaxDepth)
		return and{}
	}
	p.next()
	n := p.conjunction(depth + 1)
	p.close()
	return n
}

func (p *parser) close() {
	if p.kind != shut {
		p.expected(")")
		return
	}
	p.next()
}

func (p *parser) comparison(depth int) node {
	if p.kind != word && p.kind != quoted {
		p.expected("a field")
		return and{}
	}
	path := p.field()
	p.next()
	if p.kind != operator {
		p.expected("an operator (= != < <= > >= : =~ !~)")
		return and{}
	}
	op := p.token
	p.nextValue()
	positive, negated := op, false
	switch op {
	case "!=":
		positive, negated = "=", true
	case "!~":
		positive, negated = "=~", true
	}
	n := p.values(depth, path, positive)
	if negated {
		return not{n}
	}
	return n
}

// field resolves the token, a dotted path of names.
func (p *parser) field() (path []protoreflect.FieldDescriptor) {
	message := p.of
	for name := range strings.SplitSeq(p.token, ".") {
		var f protoreflect.FieldDescriptor
		if message != nil {
			if f = message.Fields().ByTextName(name); f == nil {
				f = message.Fields().ByJSONName(name)
			}
		}
		if f == nil {
			p.fail(p.start, "%s is not a field of a %s", excerpt(p.token), p.of.Name())
			return nil
		}
		path = append(path, f)
		message = nil
		if f.Message() != nil && !f.IsMap() {
			message = f.Message()
		}
	}
	return path
}

// values = value | "(" value { ("OR" | "AND") value } ")", with OR closer than
// AND.
func (p *parser) values(depth int, path []protoreflect.FieldDescriptor, op string) node {
	if p.kind != open {
		n := p.value(path, op)
		p.next()
		return n
	}
	if depth == MaxDepth {
		p.fail(p.start, "a filter has at most %d parentheses in parentheses", MaxDepth)
		return and{}
	}
	p.nextValue()
	all := and{}
	for p.err == nil {
		any := or{p.values(depth+1, path, op)}
		for p.is("OR") {
			p.nextValue()
			any = append(any, p.values(depth+1, path, op))
		}
		if all = append(all, any); !p.is("AND") {
			break
		}
		p.nextValue()
	}
	p.close()
	return all
}

func (p *parser) value(path []protoreflect.FieldDescriptor, op string) node {
	if p.err != nil {
		return and{}
	}
	if p.kind != word && p.kind != quoted {
		p.expected("a value")
		return and{}
	}
	if p.kind == word && p.token == "*" && op == ":" {
		return comparison{path: path}
	}
	test, wanted := valueTest(path[len(path)-1], op, p.token)
	if test == nil {
		p.fail(p.start, "%s is compared with %s, not with %s", path[len(path)-1].Name(), wanted, excerpt(p.token))
	}
	return comparison{path: path, test: test}
}
