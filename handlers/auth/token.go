package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxToken bounds the token's text. Google's own are about 1 KiB.
const maxToken = 8 << 10

// token is an ID token that has been parsed and not yet believed.
type token struct {
	keyID     string
	claims    claims
	signed    string // what the signature signs: header and payload, encoded
	signature []byte
}

// bearer returns the request's one bearer token. The scheme's name is compared
// without case, as RFC 9110 section 11.1 has it.
func bearer(r *http.Request) (string, error) {
	values := r.Header.Values("Authorization")
	switch len(values) {
	case 0:
		return "", errors.New("auth: the request has no Authorization header")
	case 1:
	default:
		return "", fmt.Errorf("auth: the request has %d Authorization headers; exactly one is accepted", len(values))
	}
	scheme, text, found := strings.Cut(values[0], " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return "", errors.New("auth: the Authorization header is not of the form \"Bearer TOKEN\"")
	}
	text = strings.TrimLeft(text, " ")
	if text == "" {
		return "", errors.New("auth: the bearer token is empty")
	}
	if len(text) > maxToken {
		return "", fmt.Errorf("auth: the token has %d bytes; at most %d are accepted", len(text), maxToken)
	}
	return text, nil
}

// parse takes a token apart, strictly, and believes nothing in it. What passes
// means the same to every JSON and base64 decoder, so that no library can read
// another algorithm or audience out of it than we did.
func parse(text string) (*token, error) {
	segments := strings.Split(text, ".")
	if len(segments) != 3 {
		return nil, fmt.Errorf("auth: a token has three segments; this one has %d", len(segments))
	}

	header, err := parseObject("header", segments[0])
	if err != nil {
		return nil, err
	}
	var alg, typ, kid string
	if err := header.str("alg", &alg); err != nil {
		return nil, err
	}
	if alg != "RS256" {
		return nil, fmt.Errorf("auth: the token's algorithm is %q; only RS256 is accepted", clip(alg))
	}
	if err := header.str("kid", &kid); err != nil {
		return nil, err
	}
	if kid == "" {
		return nil, errors.New("auth: the token's header names no key (kid)")
	}
	if header.has("typ") {
		if err := header.str("typ", &typ); err != nil {
			return nil, err
		}
		if !strings.EqualFold(typ, "JWT") {
			return nil, fmt.Errorf("auth: the token's type is %q; only JWT is accepted", clip(typ))
		}
	}
	if header.has("crit") {
		return nil, errors.New("auth: the token's header has critical extensions (crit); none is understood")
	}

	payload, err := parseObject("payload", segments[1])
	if err != nil {
		return nil, err
	}
	c, err := parseClaims(payload)
	if err != nil {
		return nil, err
	}
	signature, err := decodeSegment(segments[2])
	if err != nil {
		return nil, fmt.Errorf("auth: the token's signature is not base64url: %w", err)
	}
	if len(signature) == 0 {
		return nil, errors.New("auth: the token has no signature")
	}
	return &token{
		keyID:     kid,
		claims:    c,
		signed:    segments[0] + "." + segments[1],
		signature: signature,
	}, nil
}

// decodeSegment decodes unpadded base64url with no freedom left in it: no line
// breaks, which the decoder would skip, and no stray bits at the end.
func decodeSegment(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("line breaks are not base64url")
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

// object is a JSON object whose members have distinct names.
type object struct {
	what    string
	members map[string]json.RawMessage
}

// parseObject refuses null, anything but an object, anything behind it, and
// two members whose names differ at most in case: encoding/json, which the
// token library uses, would let the later one win.
func parseObject(what, segment string) (object, error) {
	refuse := func(why any) (object, error) {
		return object{}, fmt.Errorf("auth: the token's %s is not a base64url JSON object: %v", what, why)
	}
	text, err := decodeSegment(segment)
	if err != nil {
		return refuse(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if open, err := d.Token(); err != nil {
		return refuse(err)
	} else if open != json.Delim('{') {
		return refuse(fmt.Sprintf("it begins with %.16q", fmt.Sprint(open)))
	}
	o := object{what: what, members: make(map[string]json.RawMessage)}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return refuse(err)
		}
		key, _ := name.(string)
		for other := range o.members {
			if strings.EqualFold(other, key) {
				return refuse(fmt.Sprintf("it has both %q and %q", clip(other), clip(key)))
			}
		}
		if len(o.members) == 64 {
			return refuse("it has more than 64 members")
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return refuse(err)
		}
		o.members[key] = value
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return refuse(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return refuse("there is something behind it")
	}
	return o, nil
}

func (o object) has(name string) bool {
	_, ok := o.members[name]
	return ok
}

func (o object) str(name string, to *string) error { return o.get(name, "string", to) }
func (o object) num(name string, to *int64) error  { return o.get(name, "whole number", to) }

// get decodes the member called exactly name. JSON null, which would decode
// into anything, is no value.
func (o object) get(name, kind string, to any) error {
	raw, ok := o.members[name]
	if !ok {
		return fmt.Errorf("auth: the token's %s has no %q", o.what, name)
	}
	if string(raw) == "null" || json.Unmarshal(raw, to) != nil {
		return fmt.Errorf("auth: %q in the token's %s must be a %s, not %.64q", name, o.what, kind, raw)
	}
	return nil
}
