package generate

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// breakSomething makes one more thing wrong, unless that kind of thing is wrong already.
func (d *draft) breakSomething() {
	switch d.IntN(17) {
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
	case 8:
		d.breakRange()
	case 9, 10, 11, 12:
		if len(d.op.inPath) > 0 && d.one(2) {
			d.breakParameter()
			return
		}
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
	right := d.filled
	others := []string{
		right + "/", "/" + right, strings.ToUpper(right), "/v1" + right, right + "/..", strings.Replace(right, "/", "/%2f", 1), "/api", "/api/system",
		"/api/system/%f0%9f%98%80", "/api/system/" + strings.Repeat("x", 2000), right + "/" + strings.Repeat("../", 20) + "etc/passwd",
	}
	if !strings.HasSuffix(d.op.path, "}") { // there it would be another value
		others = append(others, right+"x", right+"%00", right+"%20", right+".json")
	}
	d.Path = d.of(slices.DeleteFunc(others, func(path string) bool {
		return slices.ContainsFunc(d.op.paths, func(template string) bool { return fits(template, path) })
	}))
}

// fits tells whether a path, as it is sent, is one that the contract has.
func fits(template, path string) bool {
	return slices.EqualFunc(strings.Split(template, "/"), strings.Split(path, "/"), func(want, got string) bool {
		return want == got || strings.HasPrefix(want, "{") && got != ""
	})
}

// breakParameter makes the value of a parameter in the path wrong.
func (d *draft) breakParameter() {
	if d.badPath || !d.fault(&d.badParameter, "parameter") {
		return
	}
	broken := choose(d.maker, d.op.inPath)
	d.Path = d.op.path
	for _, parameter := range d.op.inPath {
		value := d.text(parameter.Schema.Value, parameter)
		if parameter == broken {
			value = d.of(slices.DeleteFunc(d.wrongTexts(parameter), func(text string) bool {
				return text == "" // that is another path
			}))
		}
		d.Path = d.fill(d.Path, parameter, value)
	}
	d.Field = []string{"path", broken.Name}
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

// breakKey sends no key or a wrong one; where none is needed, the request comes from elsewhere.
func (d *draft) breakKey() {
	if !d.fault(&d.badKey, "key") {
		return
	}
	key := d.settings.APIKey
	if key == "" {
		if d.op.private {
			d.Header.Set(d.of([]string{"X-Forwarded-For", "Forwarded", "Via", "X-Real-Ip", "X-Forwarded-Host"}), d.of([]string{"192.0.2.7", "", "rubbish"}))
		}
		return
	}
	d.Header.Del("X-Api-Key")
	d.Header.Del("Cookie")
	switch d.IntN(5) {
	case 0:
	case 1:
		d.Header["X-Api-Key"] = []string{key, key}
	case 2:
		d.Header.Set("Authorization", "Bearer "+key)
		d.Header.Set("Cookie", "X-API-Key="+key)
	case 3:
		d.Header.Set("Cookie", d.of([]string{"hsi_session=x", "hsi_session_00000000=" + strings.Repeat("A", 43), "hsi_session_=" + key}))
	default:
		d.Header.Set("X-Api-Key", d.of([]string{"", "wrong", key + "x", strings.ToUpper(key), "\xff", strings.Repeat("k", 4000)}))
	}
}

// breakRange asks for a part of a file that no file has.
func (d *draft) breakRange() {
	if !d.op.statuses[http.StatusPartialContent] || !d.fault(&d.badRange, "range") {
		return
	}
	d.Header.Del("If-None-Match") // it comes first
	d.Header.Del("If-Range")
	d.Header.Set("Range", d.of([]string{"bytes=99999999999-", "bytes=99999999999-99999999999", "bytes=9007199254740991-"}))
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

// breakQuery makes a parameter wrong, or adds one that nobody knows, or makes the whole query
// unreadable.
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
	if parameter.Required && d.one(4) { // not at all
		return
	}
	if d.one(6) && canMake(parameter) { // more than once
		value := d.text(parameter.Schema.Value, parameter)
		d.pairs = append(d.pairs, pair{parameter.Name, value}, pair{parameter.Name, d.of([]string{value, ""})})
		return
	}
	d.pairs = append(d.pairs, pair{parameter.Name, d.of(d.wrongTexts(parameter))})
}

// wrongTexts are values that a parameter must not have.
func (m maker) wrongTexts(parameter *openapi3.Parameter) []string {
	schema := parameter.Schema.Value
	if !schema.Type.Is(openapi3.TypeArray) {
		return wrongTexts(parameter.Name, schema)
	}
	good := m.item(schema.Items.Value, parameter)
	wrong := []string{"", ",", good + ",", "," + good, good + ",," + good}
	if pattern := schema.Items.Value.Pattern; pattern == "" || !regexp.MustCompile(pattern).MatchString(" ") {
		wrong = append(wrong, good+", "+good)
	}
	if schema.UniqueItems {
		wrong = append(wrong, good+","+good)
	}
	for _, bad := range wrongTexts(parameter.Name, schema.Items.Value) {
		if bad != "" && !strings.Contains(bad, ",") {
			wrong = append(wrong, bad, good+","+bad)
		}
	}
	return wrong
}

// odd are texts of which a pattern should refuse most.
var odd = []string{"\x00", " ", "a b", "a/b", "/", ".", "..", "../x", "é", "😀", "%", "%2f", "a?b", "a#b", "a;b", "\n", "-", "A"}

// wrongTexts are values of a name that do not fit a plain schema.
func wrongTexts(name string, schema *openapi3.Schema) []string {
	wrong := []string{"", "\xff", "\xc3\x28", "\xc0\x80", "\xed\xa0\x80"}
	form := formOf(name, schema)
	switch {
	case schema.Type.Is(openapi3.TypeInteger) && len(schema.Enum) > 0:
		wrong = append(wrong, "0", "-1", "1", "+320", "0320", "320.0", "3.2e2", " 320", "320\n", "320,640", "99999999999999999999", "null", "wide")
	case schema.Type.Is(openapi3.TypeInteger):
		wrong = append(wrong, wrongIntegers(schema)...)
		wrong = append(wrong, "+5", "007", "-0", " 5", "5 ", "0x10", "1_0", "١", "５", "true", "null", "5\x00", "5\n", "1,2", "Infinity", "\"5\"")
	case schema.Type.Is(openapi3.TypeNumber):
		wrong = append(wrong, "-0.000001", "1.0000000000000002", "2", "1e400", "NaN", "nan", "Infinity", "-inf", "0x1p-2", "0x.8p0", "1_0", "x", "0,5",
			" 0.5", "0.5 ", "0.5\n", "true", "null", "\"0.5\"", "٠")
	case schema.Type.Is(openapi3.TypeBoolean):
		wrong = append(wrong, "1", "0", "True", "FALSE", "yes", "no", "t", " true", "true\n", "null", "\"true\"", "truefalse", "on")
	case len(schema.Enum) > 0:
		wrong = append(wrong, slices.DeleteFunc(slices.Clone(odd), func(text string) bool { return slices.Contains(schema.Enum, any(text)) })...)
	case form != nil:
		wrong = append(wrong, form.wrong...)
	case schema.Pattern != "":
		wrong = append(wrong, slices.DeleteFunc(slices.Clone(odd), regexp.MustCompile(schema.Pattern).MatchString)...)
	}
	if schema.MaxLength != nil {
		wrong = append(wrong, strings.Repeat("x", maxLength(schema)+1), strings.Repeat("é", maxLength(schema)+1))
	}
	return wrong
}

// wrongIntegers are just outside of the bounds and far away, and numbers that are written as no
// integer is.
func wrongIntegers(schema *openapi3.Schema) []string {
	lowest, highest := bounds(schema)
	return []string{
		itoa(lowest - 1), itoa(highest + 1), "-" + itoa(highest), "9223372036854775807", "9223372036854775808", "-9223372036854775809",
		"18446744073709551616", "1" + strings.Repeat("0", 60), "1.0", "1.5", "1e2", "1E2", "1e-2",
	}
}
