package generate

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/getkin/kin-openapi/openapi3"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// breakBody sends a body where a write takes none, or one that does not fit.
func (d *draft) breakBody() {
	if d.op.reads || d.Body != nil || !d.fault(&d.badBody, "body") {
		return
	}
	d.Field = []string{"body"}
	if d.op.body == nil {
		d.Body = []byte(d.of([]string{"{}", "null", " ", `{"dry_run": true}`, "dry_run=true", "\x00", "{\"half"}))
		d.Header.Set("Content-Type", d.of([]string{"application/json", "text/plain", ""}))
		d.Chunked = d.one(3)
		return
	}
	switch d.IntN(6) {
	case 0:
		d.Body = []byte(d.of(d.notOneObject()))
	case 1:
		d.breakKeys()
	default:
		key := d.of(keysOf(d.op.body))
		d.fields = slices.DeleteFunc(d.fields, func(m member) bool { return m.key == key })
		if d.op.body.MaxProps != nil { // too many keys would be another fault
			d.fields = nil
		}
		value, place := d.wrongValue(key, d.op.body.Properties[key].Value)
		d.fields = append(d.fields, member{key, value})
		d.Field = slices.Concat([]string{"body", key}, place)
		if strings.Contains(value, "e400") || len(value) > 400 && value[0] == '1' { // no number that anybody can hold: the whole text is no use
			d.Field = []string{"body"}
		}
		d.Shuffle(len(d.fields), func(i, j int) { d.fields[i], d.fields[j] = d.fields[j], d.fields[i] })
	}
}

// notOneObject are texts that are not one JSON object in UTF-8.
func (d *draft) notOneObject() []string {
	good := strings.TrimSpace(d.object(d.fields))
	return []string{
		" ", "null", "[]", "[" + good + "]", `"x"`, "14", "true", "{", "}", good[:len(good)-1], good + "}", good + good, good + " x", good + ",",
		good + "\x00", "\ufeff" + good, good + "// x", "/**/" + good, good[:len(good)-1] + ",}", "\xff" + good, `{"` + "\xff" + `":1}`,
		`{"x":` + strings.Repeat("[", 5000), strings.Repeat(`{"a":`, 9000), "{'a':1}", `{a:1}`, `{"a":NaN}`, `{"a":Infinity}`, `{"a":014}`, `{"a":+1}`,
		`{"a":.5}`, `{"a":1.}`, `{"a":"` + "\n" + `"}`, `{"a":"\x41"}`, "data=" + good, "--x\r\n\r\n" + good, "\x1f\x8b\x08" + good,
	}
}

// breakKeys adds a key that nobody knows, writes one in another case or twice, leaves one out that
// must be there, or sends too few or too many.
func (d *draft) breakKeys() {
	schema := d.op.body
	keys := keysOf(schema)
	if len(schema.Required) > 0 && d.one(4) {
		key := d.of(schema.Required)
		d.fields = slices.DeleteFunc(d.fields, func(m member) bool { return m.key == key })
		d.Field = []string{"body", key}
		return
	}
	switch d.IntN(4) {
	case 0:
		key := d.of(keys)
		other := string(unicode.ToUpper(rune(key[0]))) + key[1:]
		d.fields = append(d.fields, member{other, d.value(key, schema.Properties[key].Value)})
		d.Field = []string{"body", other}
	case 1:
		key := d.of(keys)
		value := d.value(key, schema.Properties[key].Value)
		d.fields = slices.DeleteFunc(d.fields, func(m member) bool { return m.key == key || schema.MaxProps != nil })
		d.fields = append(d.fields, member{key, value}, member{key, d.of([]string{value, "null", d.value(key, schema.Properties[key].Value)})})
		d.Field = []string{"body", key}
	case 2:
		if schema.MinProps > 0 && d.one(2) {
			d.fields = nil
			return
		}
		if most := schema.MaxProps; most != nil {
			d.fields = nil
			for _, key := range keys[:*most+1] {
				d.fields = append(d.fields, member{key, d.value(key, schema.Properties[key].Value)})
			}
			return
		}
		fallthrough
	default:
		key := d.of([]string{"unknown", "", "id", "app_name", "retention-days", "ключ", "😀", "__proto__", "constructor", "a\"b", "a\x00b"})
		d.fields = append(d.fields, member{key, d.of([]string{"1", "null", "{}", `"x"`, `{"a":[1,{"b":null}]}`})})
		d.Field = []string{"body", key}
	}
}

// wrongValue is a JSON text that does not fit the schema of a key, and where in it the fault is.
func (d *draft) wrongValue(key string, schema *openapi3.Schema) (value string, place []string) {
	var wrong []string
	if !schema.Nullable {
		wrong = append(wrong, "null")
	}
	for kind, values := range map[string][]string{
		openapi3.TypeString: {`"x"`, `""`, `"14"`}, openapi3.TypeBoolean: {"true", "false"}, openapi3.TypeArray: {"[]", "[1]"},
		openapi3.TypeObject: {"{}", `{"a":1}`}, openapi3.TypeNumber: {"1", "-1", "1e400", "-1e400"},
	} {
		if fits := schema.Type.Is(kind) || kind == openapi3.TypeNumber && schema.Type.Is(openapi3.TypeInteger); !fits {
			wrong = append(wrong, values...)
		}
	}
	slices.Sort(wrong) // the order of a map is not the same each time
	switch {
	case len(schema.Enum) > 0 && schema.Type.Is(openapi3.TypeBoolean):
		wrong = append(wrong, "false")
	case schema.Type.Is(openapi3.TypeInteger):
		wrong = append(wrong, wrongIntegers(schema)...)
		wrong = append(wrong, "1e400")
	case schema.Type.Is(openapi3.TypeNumber):
		wrong = append(wrong, "-0.000001", "1.0000000000000002", "2", "-1", "1e400", "1e300", "1"+strings.Repeat("0", 400))
	case schema.Type.Is(openapi3.TypeArray):
		if d.one(2) {
			bad, inner := d.wrongValue(key, schema.Items.Value)
			good := d.value(key, schema.Items.Value)
			return "[" + good + "," + bad + "]", append([]string{"1"}, inner...)
		}
		most := int(*schema.MaxItems)                              //nolint:gosec // small
		wrong = append(wrong, "["+strings.Repeat("1,", most)+"1]") // one more than it may have
	case schema.Type.Is(openapi3.TypeString):
		wrong = append(wrong, `"`+strings.Repeat("x", maxLength(schema)+1)+`"`, `"`+strings.Repeat("é", maxLength(schema)+1)+`"`)
		if schema.MinLength > 0 || len(schema.Enum) > 0 {
			wrong = append(wrong, `""`)
		}
		if form := formOf(key, schema); form != nil {
			for _, text := range form.wrong {
				wrong = append(wrong, d.quoted(text))
			}
		}
	}
	return d.of(wrong), nil
}
