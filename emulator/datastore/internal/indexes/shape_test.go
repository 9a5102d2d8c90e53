package indexes

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// asks reads a query in short: "^" has an ancestor; "=a" and ">a" are filters,
// "+a" and "-a" orders, "/a" is distinct and "*a" projected; "k" is __key__.
func asks(t *testing.T, short string) Query {
	t.Helper()
	q := Query{Kind: "K"}
	for word := range strings.FieldsSeq(short) {
		name := word[1:]
		if name == "k" {
			name = KeyProperty
		}
		switch word[0] {
		case '^':
			q.Ancestor = true
		case '=':
			q.Equal = append(q.Equal, name)
		case '>':
			q.Unequal = append(q.Unequal, name)
		case '+', '-':
			q.Orders = append(q.Orders, Property{name, word[0] == '-'})
		case '/':
			q.Distinct = append(q.Distinct, name)
		case '*':
			q.Projected = append(q.Projected, name)
		default:
			t.Fatalf("what is %q?", word)
		}
	}
	return q
}

// short writes, and defines reads, definitions in short: "^ a -b" is an index with ancestors
// on a, and on b descending.
func short(d Definition) string {
	var words []string
	if d.Ancestor {
		words = append(words, "^")
	}
	for _, p := range d.Properties {
		word := strings.Replace(p.Name, KeyProperty, "k", 1)
		if p.Desc {
			word = "-" + word
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func defines(text string) Definition {
	d := Definition{Kind: "K"}
	for word := range strings.FieldsSeq(text) {
		if word == "^" {
			d.Ancestor = true
			continue
		}
		name, desc := strings.CutPrefix(word, "-")
		if name == "k" {
			name = KeyProperty
		}
		d.Properties = append(d.Properties, Property{name, desc})
	}
	return d
}

// What needs an index, and which one is recommended: the answers of Google's
// Datastore emulator with --require_indexes, and what it writes into index.yaml.
// "" needs none.
func TestWhatNeedsAnIndex(t *testing.T) {
	for _, c := range []struct{ query, want string }{
		// The kind, its keys and their ancestors.
		{"", ""},
		{">k", ""},
		{"^", ""},
		{"^ >k", ""},
		{"+k", ""},
		{"-k", "-k"},
		{">k -k", "-k"},
		{"^ +k", ""},
		{"^ -k", "^ -k"},
		{"+k +a", ""},
		{"-k +a", "-k"},
		{">k +k +a", ""},
		{"=k", ""},
		{"=k +a", ""},
		{"=k +a +b", ""},
		{"=k =a", ""},
		{"=k =a +b", ""},
		{"=k >a", "k a"},
		{"^ =k +a", ""},

		// One property.
		{">a", ""},
		{">a +a", ""},
		{">a -a", ""},
		{"+a", ""},
		{"-a", ""},
		{"+a +k", ""},
		{"+a -k", "a -k"},
		{"-a +k", ""},
		{"-a -k", "-a -k"},
		{">a +a +k", ""},
		{">a -a +k", ""},
		{">a -a -k", "-a -k"},
		{"*k", ""},
		{"*k +a", ""},
		{"*a", ""},
		{"*a *k", ""},
		{"*a +a", ""},
		{"*a -a", ""},
		{"*a >a", ""},
		{"*a >a -a", ""},
		{"*a +a +k", ""},
		{"*a -a +k", ""},
		{"*a +a -k", "a -k"},
		{"/a *a", ""},
		{"/a *a +a", ""},
		{"/a *a -a", ""},
		{"/a", ""},
		{"/a +a", ""},

		// Equalities.
		{"=a", ""},
		{"=a =a", ""},
		{"=a =b", ""},
		{"=a =b =c", ""},
		{"=a >k", ""},
		{"=a =b >k", ""},
		{"=a +k", ""},
		{"=a -k", "a -k"},
		{"=a =b +k", ""},
		{"=a =b -k", "a b -k"},
		{"=a >k -k", "a -k"},
		{"=a ^", ""},
		{"=a =b ^", ""},
		{"=a ^ >k", ""},
		{"=a ^ +k", ""},
		{"=a ^ -k", "^ a -k"},
		{"=a +a", ""},
		{"=a -a", ""},
		{"=a =b +a -b", ""},
		{"*k =a", ""},

		// Equalities and more.
		{"=a >a", "a a"},
		{"=a >a +a", "a a"},
		{"=a >a -a", "a -a"},
		{"=a >b -b", "a -b"},
		{"=a >b +b", "a b"},
		{"=a >b", "a b"},
		{"=a +b", "a b"},
		{"=a -b", "a -b"},
		{"=a -b -k", "a -b -k"},
		{"=a -b +k", "a -b"},
		{"=a +b +k", "a b"},
		{"=a +b -k", "a b -k"},
		{"=b =a +c", "a b c"},
		{"=a +a +b", "a b"},
		{"=a +b +a", "a b"},
		{"*k =a +b", "a b"},

		// Ancestors.
		{">a ^", "^ a"},
		{"^ +a", "^ a"},
		{"^ -a", "^ -a"},
		{"=b ^ -a", "^ b -a"},
		{"=b >a ^", "^ b a"},

		// Several orders.
		{"+a +b", "a b"},
		{"-a +b", "-a b"},
		{"-a -b", "-a -b"},
		{"-a -b -k", "-a -b -k"},
		{"-a +b +k", "-a b"},
		{"-a +b -k", "-a b -k"},
		{">a +a +b", "a b"},

		// Projections.
		{"*a =b", "b a"},
		{"*a >b", "b a"},
		{"*a =c >b", "c b a"},
		{"*a +b", "b a"},
		{"*a -b", "-b a"},
		{"*a +k", "k a"},
		{"*a -k", "-k a"},
		{"*a >k", "k a"},
		{"*k *a >k", "k a"},
		{"*a ^", "^ a"},
		{"*a *b", "a b"},
		{"*b *a", "a b"},
		{"*b *a +a", "a b"},
		{"*b *a -b", "-b a"},
		{"*c *b *a =d -b", "d -b a c"},
		{"*c *b *a ^", "^ a b c"},
		{"/a /b *a *b", "a b"},
		{"/a *a =b", "b a"},
		{"/a *a *b", "a b"},
		{"/a *a *b +a -b", "a -b"},
		{"/b /a *a *b *c", "a b c"},
		{"/b *a *b", "b a"},
		{"/a *b", "a b"},

		// Here Google's emulator asks for (b, a, a), which it does not when there is
		// an order by a as well: a property that is distinct and has an inequality
		// counts once.
		{"/a =b >a", "b a"},
		{"/a =b >a +a", "b a"},
	} {
		shape := asks(t, c.query).Shape()
		if shape.BuiltIn() != (c.want == "") {
			t.Errorf("%q: built-in indexes serve it: %v, want %v", c.query, shape.BuiltIn(), c.want == "")
		}
		if c.want == "" {
			continue
		}
		d := Recommend(shape)
		if got := short(d); got != c.want {
			t.Errorf("%q: recommended %q, want %q", c.query, got, c.want)
		}
		if join, ok := NewSet(d).Serve(shape); !ok || len(join) != 1 {
			t.Errorf("%q: the recommended index does not serve it: %v, %v", c.query, join, ok)
		}
		if join, ok := NewSet(d).Serve(shape.Strict()); !ok || len(join) != 1 {
			t.Errorf("%q: the recommended index does not serve it strictly: %v, %v", c.query, join, ok)
		}
		if join, ok := NewSet().Serve(shape); ok {
			t.Errorf("%q: %v serves it, and there is none", c.query, join)
		}
	}
}

// Which indexes serve a query: the answers of Google's Datastore emulator with
// these index.yaml. "no" is its refusal.
func TestWhichIndexesServe(t *testing.T) {
	for _, c := range []struct{ indexes, query, want string }{
		{"a z; b z", "=a +z", "a z"},
		{"a z; b z", "=a =b +z", "a z; b z"},
		{"a z; b z", "=a =b >z", "a z; b z"},
		{"a z; b z", "=a =b -z", "no"},
		{"a z; b z", "=a -z", "no"},
		{"a z; b z", "=a =b =c +z", "no"},
		{"a z; b z", "=a =a +z", "a z"},
		{"a z; b z", "=a ^ +z", "no"},
		{"a z; b z", "+a +z", "a z"},
		{"a z; b z", "-a -z", "no"},
		{"a z; b z", "=a =z", ""},
		{"a z; b z", "=a +z +k", "a z"},
		{"a z; b z", "=a +z -k", "no"},
		{"a z; b z", "*z =a", "a z"},
		{"a z; b z", "*z =a =b", "a z; b z"},
		{"a z; b z", "*a *z", "a z"},
		{"a z; b z", "*a *z +z", "no"},
		{"a z k", "=a +z", "no"},
		{"-a z", "=a +z", "-a z"},
		{"-a z", "+a -z", "no"},
		{"-a z", "-a +z", "-a z"},
		{"-a z", "*a *z", "-a z"},
		{"^ a z", "=a +z", "no"},
		{"^ a z", "=a ^ +z", "^ a z"},
		{"a z; ^ z", "=a ^ +z", "a z; ^ z"},
		{"a z; ^ z", "^ +z", "^ z"},
		{"a b z", "=a =b +z", "a b z"},
		{"a b z", "=a +z", "no"},
		{"a b z", "=a +b +z", "a b z"},
		{"z -w", "+z -w", "z -w"},
		{"z -w", "-z +w", "no"},
		{"z -w", "+z +w", "no"},
		{"z -w", "=z +w", "no"},
		{"z -w", "=z -w", "z -w"},
		{"z -w", "*z *w", "z -w"},
		{"z -w", "*w *z", "z -w"},
		{"z -w", "/z /w *z *w", "z -w"},
		{"a z w", "=a +z", "no"},
		{"a b z; b c z", "=a =b =c +z", "a b z; b c z"},
		{"b a z", "=a =b +z", "b a z"},
		{"a z; b z; a b z", "=a =b +z", "a b z"},
		{"a -k; b -k", "=a =b -k", "a -k; b -k"},
		{"a -k; b -k", "=a =b =c -k", "no"},
		{"a -k; b -k", "=a -k", "a -k"},
		{"a z -k", "=a +z", "no"},
		{"a z -k", "=a -z", "no"},
		{"a z -k", "=a +z -k", "a z -k"},
		{"-a b", "=a =b", ""},
		{"-a b", ">a -a +b", "-a b"},
		{"-a b", "*a *b >a", "-a b"},
		{"-a b", "*a *b -a", "-a b"},
		{"-a b", "*b *a", "-a b"},
		{"^ a; b a", "=b ^ +a", "^ a; b a"},
		{"^ a; b a", "=b ^ >a", "^ a; b a"},
		{"^ a; b a", "=b ^ -a", "no"},
		{"^ a z; ^ b z", "=a =b ^ +z", "^ a z; ^ b z"},
		{"^ a z; ^ b z", "=a =b +z", "no"},
		{"-z -w", "+z +w", "no"},
		{"-z -w", "*z *w", "-z -w"},
		{"^ -a", ">a ^", "^ -a"},
		{"^ -a", "*a ^", "^ -a"},
		{"^ -a", ">a ^ +a", "no"},
		{"^ -a", "=a =b ^", ""},
		{"-k", "=a -k", "no"},
		{"-k", "-k", "-k"},
		{"-k", "^ -k", "no"},
		{"a b", "*a =b", "no"},
		{"a b", "*b >a", "a b"},
		{"a b", "*b =a", "a b"},
		{"a b", "*b =a -b", "no"},
		{"a b", "*a >a =b", "no"},
		{"a b", "*a *b +b", "no"},
		{"a b", "/b *a *b", "no"},
		{"a b", "/a *a *b", "a b"},
		{"a a", "=a >a", "a a"},
		{"a a", "=a =a >a", "a a"},
		{"a a", ">a", ""},
	} {
		var defs []Definition
		for text := range strings.SplitSeq(c.indexes, ";") {
			defs = append(defs, defines(text))
		}
		got := "no"
		if join, ok := NewSet(defs...).Serve(asks(t, c.query).Shape()); ok {
			var texts []string
			for _, d := range join {
				texts = append(texts, short(d))
			}
			got = strings.Join(texts, "; ")
		}
		if got != c.want {
			t.Errorf("with %q, %q is served by %q, want %q", c.indexes, c.query, got, c.want)
		}
	}
}

// A strict shape takes only indexes whose rows come in its own order.
func TestStrictShapes(t *testing.T) {
	for _, c := range []struct {
		index, query string
		want         bool
	}{
		{"-z -w", "*z *w", false},
		{"w z", "*z *w", true},
		{"^ -a", ">a ^", false},
		{"^ a", ">a ^", true},
		{"-a b", "=a >b", true},
	} {
		if _, ok := NewSet(defines(c.index)).Serve(asks(t, c.query).Shape().Strict()); ok != c.want {
			t.Errorf("%q serves %q strictly: %v, want %v", c.index, c.query, ok, c.want)
		}
	}
}

func TestMissingErrorIsProductions(t *testing.T) {
	err := &MissingError{Definition{Kind: "greeting", Ancestor: true, Properties: []Property{{"date", true}}}}
	want := "no matching index found. recommended index is:\n" +
		"- kind: greeting\n  ancestor: yes\n  properties:\n  - name: date\n    direction: desc\n"
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
}

func TestSets(t *testing.T) {
	a, b, same := defines("a z"), defines("^ b z"), defines("a z")
	var none *Set
	s := none.With(b).With(a)
	if diff := cmp.Diff([]Definition{a, b}, s.All()); diff != "" || s.Len() != 2 {
		t.Errorf("%d: %s", s.Len(), diff)
	}
	if s.With(same) != s || !s.Has(same) {
		t.Error("the same index came twice")
	}
	if less := s.Without(same); less.Has(a) || !less.Has(b) || !s.Has(a) {
		t.Error("Without took the wrong one, or changed the set itself")
	}
	if none.Len() != 0 || none.Has(a) || len(none.All()) != 0 || none.Without(a) != none {
		t.Error("nil is not the empty set")
	}
}
