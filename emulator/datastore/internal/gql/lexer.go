package gql

import "strings"

type kind int

const (
	endOfQuery kind = iota
	keyword
	symbol
	unquotedName
	quotedName
	integer
	double
	singleQuoted
	doubleQuoted
	namedSite    // @name
	numberedSite // @1
)

// token is one word of a query.
type token struct {
	kind  kind
	image string // as it stands in the query
	text  string // what it means: a keyword in upper case, a name or a string without quotes and escapes
	at    int    // offset in the query
}

// is says whether t is the given keyword or symbol.
func (t token) is(text string) bool {
	return (t.kind == keyword || t.kind == symbol) && t.text == text
}

// label is what Google's parser calls a token of this kind.
func (t token) label() string {
	switch t.kind {
	case unquotedName:
		return "<UNQUOTED_NAME>"
	case quotedName:
		return "<QUOTED_NAME>"
	case integer:
		return "<INTEGER>"
	case double:
		return "<DOUBLE>"
	case singleQuoted:
		return "<SINGLE_QUOTE_STRING>"
	case doubleQuoted:
		return "<DOUBLE_QUOTE_STRING>"
	case namedSite:
		return "<NAME_BINDING_SITE>"
	case numberedSite:
		return "<POSITION_BINDING_SITE>"
	}
	return `"` + strings.ToLower(t.text) + `"`
}

// isKeyword says whether a word, in upper case, can't be a name without
// backquotes. OVER isn't in Google's list, but no name in Google's emulators;
// EXISTS is in the list, but a name in the emulators: the list counts.
func isKeyword(word string) bool {
	switch word {
	case "AGGREGATE", "ALL", "ANCESTOR", "AND", "ANY", "AS", "ASC", "AVG", "BETWEEN", "BINARY", "BY",
		"CHILD", "CONTAINS", "COUNT", "COUNT_UP_TO", "CURSOR", "DESC", "DESCENDANT", "DISTINCT", "DIV",
		"EXISTS", "FALSE", "FROM", "GROUP", "HAS", "HAVING", "IN", "IS", "JOIN", "LIKE", "LIMIT", "MOD",
		"NOT", "NULL", "OFFSET", "ON", "OR", "ORDER", "OVER", "PARENT", "REGEXP", "RLIKE", "SELECT",
		"SUBSET", "SUM", "SUPERSET", "TRUE", "WHERE", "XOR":
		return true
	}
	return false
}

// lexer cuts a query into tokens.
type lexer struct {
	src string
	pos int
}

func (l *lexer) next() (token, error) {
	for l.pos < len(l.src) && strings.IndexByte(" \t\r\n", l.src[l.pos]) >= 0 {
		l.pos++
	}
	start := l.pos
	switch c := l.byteAt(start); {
	case start == len(l.src):
		return token{kind: endOfQuery, at: start}, nil
	case startsName(c):
		t := l.cut(unquotedName, l.span(start, continuesName))
		if word := upper(t.text); isKeyword(word) {
			t.kind, t.text = keyword, word
		}
		return t, nil
	case c == '`':
		return l.quoted(quotedName)
	case c == '\'':
		return l.quoted(singleQuoted)
	case c == '"':
		return l.quoted(doubleQuoted)
	case c == '@' && isDigit(l.byteAt(start+1)):
		return l.cut(numberedSite, l.span(start+1, isDigit)), nil
	case c == '@' && startsName(l.byteAt(start+1)):
		return l.cut(namedSite, l.span(start+1, continuesName)), nil
	case l.startsNumber(start):
		return l.number(), nil
	case c == '@', c == '-':
		return token{}, lexical(l.src, start, start+1)
	}
	for _, s := range []string{"!=", "<=", ">=", "(", ")", ",", ".", "*", "+", "=", "<", ">"} {
		if strings.HasPrefix(l.src[start:], s) {
			return l.cut(symbol, start+len(s)), nil
		}
	}
	if l.src[start] == '!' {
		return token{}, lexical(l.src, start, start+1)
	}
	return token{}, lexical(l.src, start, start)
}

// cut ends a token at end.
func (l *lexer) cut(k kind, end int) token {
	image := l.src[l.pos:end]
	t := token{kind: k, image: image, text: image, at: l.pos}
	l.pos = end
	return t
}

// span returns the end of the run of bytes from start on that are in a class.
func (l *lexer) span(start int, class func(byte) bool) int {
	for start < len(l.src) && class(l.src[start]) {
		start++
	}
	return start
}

// byteAt returns the byte at i, or 0 behind the end.
func (l *lexer) byteAt(i int) byte {
	if i < len(l.src) {
		return l.src[i]
	}
	return 0
}

func (l *lexer) startsNumber(i int) bool {
	if c := l.byteAt(i); c == '+' || c == '-' {
		i++
	}
	return isDigit(l.byteAt(i)) || l.byteAt(i) == '.' && isDigit(l.byteAt(i+1))
}

func (l *lexer) number() token {
	k := integer
	end := l.span(l.pos+1, isDigit) // a sign or a digit or the point
	if l.byteAt(l.pos) == '.' {
		k = double
	} else if l.byteAt(end) == '.' {
		k = double
		end = l.span(end+1, isDigit)
	}
	if l.byteAt(end)|0x20 == 'e' {
		k = double
		end++
		if c := l.byteAt(end); c == '+' || c == '-' {
			end++
		}
		end = l.span(end, isDigit)
	}
	return l.cut(k, end)
}

// quoted reads a string or a backquoted name.
func (l *lexer) quoted(k kind) (token, error) {
	quote := l.src[l.pos]
	var text strings.Builder
	for i := l.pos + 1; i < len(l.src); i++ {
		switch c := l.src[i]; {
		case c == quote && l.byteAt(i+1) != quote:
			t := l.cut(k, i+1)
			t.text = text.String()
			return t, nil
		case c == quote:
			i++
			text.WriteByte(quote)
		case c == '\\':
			i++
			meaning, ok := unescape(l.byteAt(i))
			if !ok {
				return token{}, lexical(l.src, l.pos, i)
			}
			text.WriteString(meaning)
		case c == '\n':
			return token{}, lexical(l.src, l.pos, i)
		default:
			text.WriteByte(c)
		}
	}
	return token{}, lexical(l.src, l.pos, len(l.src))
}

// unescape returns what a character means behind a backslash.
func unescape(c byte) (meaning string, ok bool) {
	switch c {
	case '\\', '\'', '"', '`':
		return string(c), true
	case '%', '_':
		return `\` + string(c), true
	case '0':
		return "\x00", true
	case 'b':
		return "\b", true
	case 'n':
		return "\n", true
	case 'r':
		return "\r", true
	case 't':
		return "\t", true
	case 'Z':
		return "\x1a", true
	}
	return "", false
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// startsName: the reference allows characters up to U+FFFF, which Google's
// emulators take for UTF-16 units, so that any character from U+0080 on is one
// or two of them.
func startsName(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == '$' || c >= 0x80
}

func continuesName(c byte) bool { return startsName(c) || isDigit(c) }

// upper is strings.ToUpper for ASCII only: no other letter makes a keyword.
func upper(s string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}, s)
}
