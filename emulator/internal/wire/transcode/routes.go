package transcode

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// A route is one binding of one method.
type route struct {
	*method
	template     *template
	vars         []fieldPath // of the template's variables
	body         string      // "": none, "*": the whole request, else bodyField
	bodyField    protoreflect.FieldDescriptor
	responseBody protoreflect.FieldDescriptor // nil: the whole answer
}

// A method is one RPC of a registered service.
type method struct {
	desc  grpc.MethodDesc
	impl  any
	input protoreflect.MessageDescriptor
}

// anyMethod is the HTTP method of custom bindings for all of them.
const anyMethod = "*"

// routes are the bindings by HTTP method and verb, each list in order of
// precedence.
type routes struct {
	byMethod map[string]map[string][]*route
	verbs    map[string]bool
}

// services collects what is registered.
type services struct {
	rules  map[string]*annotations.HttpRule // by selector, in place of annotations
	routes routes
	shapes map[string]string // method and shape of a template → the RPC
	errs   []error
}

// RegisterService implements grpc.ServiceRegistrar.
func (s *services) RegisterService(desc *grpc.ServiceDesc, impl any) {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(desc.ServiceName))
	service, ok := d.(protoreflect.ServiceDescriptor)
	if err != nil || !ok {
		s.errs = append(s.errs, fmt.Errorf("service %s: no descriptor is linked", desc.ServiceName))
		return
	}
	for _, m := range desc.Methods {
		md := service.Methods().ByName(protoreflect.Name(m.MethodName))
		if md == nil {
			s.errs = append(s.errs, fmt.Errorf("service %s: its descriptor has no method %s", desc.ServiceName, m.MethodName))
			continue
		}
		rule := s.rules[string(md.FullName())]
		if rule == nil {
			rule, _ = proto.GetExtension(md.Options(), annotations.E_Http).(*annotations.HttpRule)
		}
		if rule == nil {
			continue // not served over HTTP
		}
		mm := &method{desc: m, impl: impl, input: md.Input()}
		for _, r := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
			if err := s.bind(mm, md, r); err != nil {
				s.errs = append(s.errs, fmt.Errorf("%s: %w", md.FullName(), err))
			}
		}
	}
}

// bind adds one binding of md.
func (s *services) bind(m *method, md protoreflect.MethodDescriptor, rule *annotations.HttpRule) error {
	httpMethod, path := pattern(rule)
	if httpMethod == "" {
		return errors.New("the HTTP rule has no pattern")
	}
	t, err := parseTemplate(path)
	if err != nil {
		return err
	}
	r := &route{method: m, template: t, body: rule.GetBody()}
	for _, v := range t.vars {
		field, err := resolve(md.Input(), v.field)
		if err == nil {
			err = field.bindable()
		}
		if err == nil && field.last().IsList() {
			err = fmt.Errorf("%s is repeated", v.field)
		}
		if err != nil {
			return fmt.Errorf("path template %q: %w", path, err)
		}
		r.vars = append(r.vars, field)
	}
	if r.body != "" && r.body != "*" {
		if r.bodyField = md.Input().Fields().ByTextName(r.body); r.bodyField == nil {
			return fmt.Errorf("body: %s has no field %s", md.Input().FullName(), r.body)
		}
	}
	if name := rule.GetResponseBody(); name != "" {
		if r.responseBody = md.Output().Fields().ByTextName(name); r.responseBody == nil {
			return fmt.Errorf("response_body: %s has no field %s", md.Output().FullName(), name)
		}
	}
	shape := httpMethod + " " + t.shape()
	if other, taken := s.shapes[shape]; taken {
		return fmt.Errorf("%s is bound to %s already", shape, other)
	}
	s.shapes[shape] = string(md.FullName())
	s.routes.add(httpMethod, r)
	return nil
}

func pattern(rule *annotations.HttpRule) (httpMethod, path string) {
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return http.MethodGet, p.Get
	case *annotations.HttpRule_Put:
		return http.MethodPut, p.Put
	case *annotations.HttpRule_Post:
		return http.MethodPost, p.Post
	case *annotations.HttpRule_Delete:
		return http.MethodDelete, p.Delete
	case *annotations.HttpRule_Patch:
		return http.MethodPatch, p.Patch
	case *annotations.HttpRule_Custom:
		return p.Custom.GetKind(), p.Custom.GetPath()
	}
	return "", ""
}

func (rs *routes) add(httpMethod string, r *route) {
	verbs := rs.byMethod[httpMethod]
	if verbs == nil {
		verbs = map[string][]*route{}
		rs.byMethod[httpMethod] = verbs
	}
	verb := r.template.verb
	rs.verbs[verb] = true
	verbs[verb] = append(verbs[verb], r)
	slices.SortStableFunc(verbs[verb], func(a, b *route) int { return a.template.precedes(b.template) })
}

// find returns the route of an escaped path and the values of its variables, or
// nil. What follows the last colon is a verb if any template has it, and else
// part of its segment.
func (rs *routes) find(httpMethod, path string) (*route, []string) {
	path, ok := strings.CutPrefix(path, "/")
	if !ok {
		return nil, nil
	}
	verb := ""
	if i := strings.LastIndexByte(path, ':'); i > strings.LastIndexByte(path, '/') && rs.verbs[path[i+1:]] {
		path, verb = path[:i], path[i+1:]
	}
	segments := strings.Split(path, "/")
	for _, m := range []string{httpMethod, anyMethod} {
		for _, r := range rs.byMethod[m][verb] {
			if values, ok := r.template.match(segments); ok {
				return r, values
			}
		}
	}
	return nil, nil
}
