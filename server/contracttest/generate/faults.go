package generate

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// breakSomething makes one more thing wrong, unless that kind of thing is wrong already.
func (d *draft) breakSomething() {
	switch d.IntN(16) {
	case 0:
		d.breakHost()
	case 1:
		d.breakOrigin()
	case 2:
		d.breakPath()
	case 3:
		d.breakMethod()
	case 4:
		d.askBeforehand()
	case 5:
		d.breakKey()
	case 6:
		d.breakSize()
	case 7:
		d.breakType()
	case 8, 9, 10, 11:
		d.breakQuery()
	default:
		d.breakBody()
	}
}

// fault notes what is wrong. It returns false when that is wrong already.
func (d *draft) fault(done *bool, name string) bool {
	if *done {
		return false
	}
	*done = true
	d.Faults = append(d.Faults, name)
	return true
}

// breakHost names a host that is not ours: a name with a dot, or no name at all.
func (d *draft) breakHost() {
	if d.fault(&d.badHost, "host") {
		d.Host = d.of([]string{
			"evil.example.com", "evil.example.com:8000", "localhost.evil.example.com", "127.0.0.1.nip.io", "127.0.0.1.", "1.2.3", "1.2.3.4.5",
			"localhost:65536", "localhost:x", "[::1", "[::1]x", "[zz]", "a..b", ".localhost", "x." + d.settings.AllowedHost, "localhost:1:1",
		})
	}
}

// breakOrigin makes it a request that a browser sends for a page of another site.
func (d *draft) breakOrigin() {
	if d.preflight || !d.fault(&d.badOrigin, "origin") {
		return
	}
	d.Header.Del("Origin")
	d.Header.Set("Sec-Fetch-Site", d.of([]string{"cross-site", "same-site", "rubbish"}))
	if d.one(2) {
		d.Header.Del("Sec-Fetch-Site")
		d.Header.Set("Origin", d.of([]string{"https://evil.example.com", "null", "http://127.0.0.1:1", d.settings.TrustedOrigin + ":1"}))
	}
}

func (d *draft) breakPath() {
	if d.badMethod || d.preflight || !d.fault(&d.badPath, "path") {
		return
	}
	d.Path = d.of([]string{
		d.op.path + "/", d.op.path + "x", "/" + d.op.path, strings.ToUpper(d.op.path), "/v1" + d.op.path, d.op.path + "/..", d.op.path + "%00",
		d.op.path + "%20", strings.Replace(d.op.path, "/", "/%2f", 1), d.op.path + ".json", "/api", "/api/system", "/api/system/%f0%9f%98%80",
		"/api/system/" + strings.Repeat("x", 2000), d.op.path + "/" + strings.Repeat("../", 20) + "etc/passwd",
	})
}

func (d *draft) breakMethod() {
	if d.badPath || d.preflight || !d.fault(&d.badMethod, "method") {
		return
	}
	for d.Method = d.op.method; slices.Contains(d.op.methods, d.Method); {
		d.Method = d.of([]string{
			http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete, http.MethodOptions, "PROPFIND", "get", "Patch", "X",
		})
	}
}

// askBeforehand makes it the question that a browser asks before it lets a page write.
func (d *draft) askBeforehand() {
	if d.badPath || d.badMethod || d.badOrigin || d.preflight {
		return
	}
	d.preflight = true
	d.Faults = append(d.Faults, "preflight")
	d.Method = http.MethodOptions
	d.Header.Set("Origin", d.settings.TrustedOrigin)
	d.Header.Set("Access-Control-Request-Method", d.of([]string{"PATCH", "POST", "DELETE"}))
}

func (d *draft) breakKey() {
	if !d.fault(&d.badKey, "key") {
		return
	}
	key := d.settings.APIKey
	d.Header.Del("X-Api-Key")
	switch d.IntN(4) {
	case 0:
	case 1:
		d.Header["X-Api-Key"] = []string{key, key}
	case 2:
		d.Header.Set("Authorization", "Bearer "+key)
		d.Header.Set("Cookie", "X-API-Key="+key)
	default:
		d.Header.Set("X-Api-Key", d.of([]string{"", "wrong", key + "x", strings.ToUpper(key), "\xff", strings.Repeat("k", 4000)}))
	}
}

// breakSize makes the body too large; where nobody reads it that does not matter.
func (d *draft) breakSize() {
	if d.fault(&d.badSize, "size") {
		d.Chunked = d.one(2)
	}
}

// breakType sends the body as something that it must not be.
func (d *draft) breakType() {
	if d.op.body == nil || !d.fault(&d.badType, "type") {
		return
	}
	switch d.IntN(4) {
	case 0:
		d.Header.Del("Content-Type")
	case 1:
		d.Header["Content-Type"] = []string{"application/json", "application/json"}
	case 2:
		encoding := d.of([]string{"gzip", "deflate", "br", "x-unknown", "identity, gzip", "GZIP"})
		d.Header.Set("Content-Encoding", encoding)
		if d.Body == nil {
			d.Body = packed(encoding, d.object(d.fields))
		}
	default:
		d.Header.Set("Content-Type", d.of([]string{
			"text/plain", "application/merge-patch+json", "application/jsonx", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
			"application/json; charset=latin1", "application/json; charset=utf-16", "json", ";", "application/json, text/plain", "*/*", "", "\xff",
		}))
	}
}

// packed compresses where it can; the server must not even look.
func packed(encoding, text string) []byte {
	var b bytes.Buffer
	switch strings.ToLower(encoding) {
	case "gzip":
		w := gzip.NewWriter(&b)
		_, _ = w.Write([]byte(text)) // into memory
		_ = w.Close()
	case "deflate":
		w := zlib.NewWriter(&b)
		_, _ = w.Write([]byte(text)) // into memory
		_ = w.Close()
	default:
		return []byte(text)
	}
	return b.Bytes()
}

// breakQuery makes a parameter wrong, or adds one that nobody knows, or makes the whole query unreadable.
func (d *draft) breakQuery() {
	if !d.fault(&d.badQuery, "query") {
		return
	}
	if d.one(8) {
		broken := d.of([]string{"%zz", "%", "a=%f", "limit=1;limit=2", "a;b", "\xff=1"})
		d.Query, d.Field = strings.Trim(d.encode(d.pairs)+"&"+broken, "&"), []string{"query"}
		return
	}
	if len(d.op.query) == 0 || d.one(5) {
		name := d.of([]string{"unknown", "id", "", "dry_run[]", "Limit", "api_key", "$where", "ключ", "😀", "a.b", "limit ", "__proto__"})
		d.pairs = append(d.pairs, pair{name, d.of([]string{"", "1", "true"})})
		d.Field = []string{"query", name}
		return
	}
	parameter := choose(d.maker, d.op.query)
	d.pairs = slices.DeleteFunc(d.pairs, func(p pair) bool { return p.name == parameter.Name })
	d.Field = []string{"query", parameter.Name}
	if d.one(6) { // more than once
		value := d.text(parameter.Schema.Value, parameter)
		d.pairs = append(d.pairs, pair{parameter.Name, value}, pair{parameter.Name, d.of([]string{value, ""})})
		return
	}
	d.pairs = append(d.pairs, pair{parameter.Name, d.of(wrongTexts(parameter.Schema.Value))})
}

// wrongTexts are values that a parameter must not have.
func wrongTexts(schema *openapi3.Schema) []string {
	wrong := []string{"", "\xff", "\xc3\x28", "\xc0\x80", "\xed\xa0\x80"}
	switch {
	case schema.Type.Is(openapi3.TypeInteger):
		wrong = append(wrong, wrongIntegers(schema)...)
		wrong = append(wrong, "+5", "007", "-0", " 5", "5 ", "0x10", "1_0", "١", "５", "true", "null", "5\x00", "5\n", "1,2", "Infinity", "\"5\"")
	case schema.Type.Is(openapi3.TypeBoolean):
		wrong = append(wrong, "1", "0", "True", "FALSE", "yes", "no", "t", " true", "true\n", "null", "\"true\"", "truefalse", "on")
	case schema.Pattern != "":
		wrong = append(wrong, forms[schema.Pattern].wrong...)
	}
	if schema.MaxLength != nil {
		wrong = append(wrong, strings.Repeat("x", maxLength(schema)+1), strings.Repeat("é", maxLength(schema)+1))
	}
	return wrong
}

// wrongIntegers are just outside of the bounds and far away, and numbers that are written as no integer is.
func wrongIntegers(schema *openapi3.Schema) []string {
	lowest, highest := bounds(schema)
	return []string{
		itoa(lowest - 1), itoa(highest + 1), "-" + itoa(highest), "9223372036854775807", "9223372036854775808", "-9223372036854775809",
		"18446744073709551616", "1" + strings.Repeat("0", 60), "1.0", "1.5", "1e2", "1E2", "1e-2",
	}
}
