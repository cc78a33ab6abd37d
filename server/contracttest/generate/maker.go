package generate

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
)

// maker makes values that fit a schema.
type maker struct{ *rand.Rand }

// one is true once in n times.
func (m maker) one(n int) bool { return m.IntN(n) == 0 }

// of chooses one of several. It is a function of the maker in all but form: methods have no type
// parameters.
func (m maker) of(list []string) string { return list[m.IntN(len(list))] }

func choose[T any](m maker, list []T) T { return list[m.IntN(len(list))] }

// pair is one parameter of a query, not yet encoded.
type pair struct{ name, value string }

// member is one key of an object, its value as JSON text.
type member struct{ key, value string }

// text is a value of a parameter, not yet encoded.
func (m maker) text(schema *openapi3.Schema, parameter *openapi3.Parameter) string {
	if !schema.Type.Is(openapi3.TypeArray) {
		return m.item(schema, parameter)
	}
	var items []string
	for range 1 + m.IntN(min(maxItems(schema), 4)) {
		if item := m.item(schema.Items.Value, parameter); !slices.Contains(items, item) {
			items = append(items, item)
		}
	}
	return strings.Join(items, ",")
}

// item is a plain value, or one of a list.
func (m maker) item(schema *openapi3.Schema, parameter *openapi3.Parameter) string {
	form := formOf(parameter.Name, schema)
	switch {
	case len(schema.Enum) > 0:
		return fmt.Sprint(choose(m, schema.Enum))
	case schema.Type.Is(openapi3.TypeInteger):
		return strconv.FormatInt(m.integer(schema), 10)
	case schema.Type.Is(openapi3.TypeNumber):
		return m.number(*schema.Min, *schema.Max)
	case schema.Type.Is(openapi3.TypeBoolean):
		return m.of([]string{"true", "false"})
	case form != nil && (len(examplesOf(parameter)) == 0 || !m.one(3)):
		return form.right(m, schema)
	}
	if examples := examplesOf(parameter); len(examples) > 0 && (schema.Pattern != "" || m.one(3)) {
		return m.of(examples)
	}
	return m.words(int(schema.MinLength), maxLength(schema)) //nolint:gosec // small
}

// examplesOf lists the texts that the contract gives as examples of a parameter, or of an item of
// it.
func examplesOf(parameter *openapi3.Parameter) []string {
	values := []any{parameter.Example}
	for _, name := range slices.Sorted(maps.Keys(parameter.Examples)) {
		values = append(values, parameter.Examples[name].Value.Value)
	}
	var texts []string
	for _, value := range values {
		switch value := value.(type) {
		case string:
			texts = append(texts, value)
		case []any:
			for _, item := range value {
				texts = append(texts, fmt.Sprint(item))
			}
		}
	}
	return texts
}

func maxItems(schema *openapi3.Schema) int {
	if schema.MaxItems == nil {
		return 10
	}
	return int(*schema.MaxItems) //nolint:gosec // small
}

// integer is in the bounds of the schema, often on one of them.
func (m maker) integer(schema *openapi3.Schema) int64 {
	lowest, highest := bounds(schema)
	switch m.IntN(6) {
	case 0:
		return lowest
	case 1:
		return highest
	case 2:
		return min(lowest+1, highest)
	case 3:
		return max(highest-1, lowest)
	case 4:
		return min(lowest+m.Int64N(50), highest)
	default:
		return lowest + m.Int64N(highest-lowest+1)
	}
}

// bounds of an integer; every integer of the contract has a lowest value.
func bounds(schema *openapi3.Schema) (lowest, highest int64) {
	lowest, highest = int64(*schema.Min), math.MaxInt32
	if schema.Max != nil {
		highest = int64(*schema.Max)
	}
	return lowest, highest
}

func maxLength(schema *openapi3.Schema) int {
	if schema.MaxLength == nil {
		return 1000
	}
	return int(*schema.MaxLength) //nolint:gosec // small
}

var letters = []string{
	"a", "Z", "0", " ", "é", "ß", "Ω", "\u05d0", "\u0639", "\u3042", "中", "e\u0301", "\u200d", "\u202e", "\ufeff", "\u2028", "\ufffd", "😀", "👩\u200d👧",
	"\x00", "\t", "\n", "\x7f", "\"", "\\", "/", "'", "<", "&", "=", "+", "%", ";", "#", "{", "[", "$1", "--",
}

// words is a text of lowest to highest characters, counted so that everybody who counts agrees; at
// the limits of letters of one unit.
func (m maker) words(lowest, highest int) string {
	switch m.IntN(8) {
	case 0:
		return strings.Repeat(m.of([]string{"x", "é", "中"}), highest)
	case 1:
		return strings.Repeat(m.of([]string{"x", "é", "中"}), max(lowest, 1))
	}
	var b strings.Builder
	for range max(lowest, 1) + m.IntN(min(highest, 60)) {
		b.WriteString(m.of(letters))
	}
	text := b.String()
	for units(text) > highest {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}

// units counts UTF-16 code units, the largest of the usual ways to count characters.
func units(text string) (n int) {
	for _, r := range text {
		if n++; r > 0xffff {
			n++
		}
	}
	return n
}

// members make an object that fits the schema: the keys that it must have and any of the others, as
// many as it may have.
func (m maker) members(schema *openapi3.Schema) []member {
	keys := slices.DeleteFunc(keysOf(schema), func(key string) bool { return !canMakeKey(key, schema.Properties[key].Value) })
	m.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	slices.SortStableFunc(keys, func(a, b string) int { // those that it must have are chosen first
		return requiredFirst(slices.Contains(schema.Required, a), slices.Contains(schema.Required, b))
	})
	most := len(keys) // no answer's own key is required
	if schema.MaxProps != nil {
		most = min(most, int(*schema.MaxProps)) //nolint:gosec // small
	}
	least := max(int(schema.MinProps), len(schema.Required)) //nolint:gosec // small
	chosen := make([]member, 0, most)
	for _, key := range keys[:least+m.IntN(most-least+1)] {
		chosen = append(chosen, member{key, m.value(key, schema.Properties[key].Value)})
	}
	m.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	return chosen
}

func requiredFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

func keysOf(schema *openapi3.Schema) []string {
	keys := make([]string, 0, len(schema.Properties))
	for key := range schema.Properties {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// value is a JSON text that fits the schema of a key.
func (m maker) value(key string, schema *openapi3.Schema) string {
	if schema.Nullable && m.one(5) {
		return "null"
	}
	switch {
	case len(schema.Enum) > 0:
		text, _ := json.Marshal(choose(m, schema.Enum)) // what was read from the contract can be written
		return string(text)
	case schema.Type.Is(openapi3.TypeInteger):
		return strconv.FormatInt(m.integer(schema), 10)
	case schema.Type.Is(openapi3.TypeNumber):
		return m.number(*schema.Min, *schema.Max)
	case schema.Type.Is(openapi3.TypeBoolean):
		return m.of([]string{"true", "false"})
	case schema.Type.Is(openapi3.TypeArray):
		n := int(schema.MinItems) + m.IntN(5) //nolint:gosec // small
		if m.one(8) && schema.MaxItems != nil {
			n = int(*schema.MaxItems) //nolint:gosec // small
		}
		items := make([]string, n)
		for i := range items {
			items[i] = m.value(key, schema.Items.Value)
		}
		return "[" + strings.Join(items, ",") + "]"
	case schema.Type.Is(openapi3.TypeObject):
		members := m.members(schema)
		return strings.TrimSpace(m.object(members))
	case formOf(key, schema) != nil:
		return m.quoted(formOf(key, schema).right(m, schema))
	default:
		return m.quoted(m.words(int(schema.MinLength), maxLength(schema))) //nolint:gosec // small
	}
}

// number is in its bounds, in one of the many ways to write it.
func (m maker) number(lowest, highest float64) string {
	n := lowest + m.Float64()*(highest-lowest)
	switch m.IntN(5) {
	case 0:
		n = lowest
	case 1:
		n = highest
	}
	switch m.IntN(3) {
	case 0:
		return strconv.FormatFloat(n, 'f', -1, 64)
	case 1:
		return strconv.FormatFloat(n, 'E', -1, 64)
	default:
		return strconv.FormatFloat(n, 'g', -1, 64)
	}
}

// quoted writes a JSON string, some of its characters as escapes.
func (m maker) quoted(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r > 0xffff:
			b.WriteRune(r)
		case r < 0x20, r == '"', r == '\\', m.one(16):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// object writes a JSON object, with white space here and there.
func (m maker) object(members []member) string {
	gap := func() string { return m.of([]string{"", "", "", " ", "\n", "\t\r\n  "}) }
	var b strings.Builder
	b.WriteString(gap() + "{" + gap())
	for i, each := range members {
		if i > 0 {
			b.WriteString("," + gap())
		}
		b.WriteString(m.quoted(each.key) + gap() + ":" + gap() + each.value + gap())
	}
	b.WriteString("}" + gap())
	return b.String()
}

// encode writes a query, each character as itself or percent-encoded.
func (m maker) encode(pairs []pair) string {
	parts := make([]string, len(pairs))
	for i, each := range pairs {
		parts[i] = m.escape(each.name) + "=" + m.escape(each.value)
	}
	return strings.Join(parts, "&")
}

func (m maker) escape(text string) string {
	switch m.IntN(4) {
	case 0:
		return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
	case 1:
		if len(text) > 1000 {
			return url.QueryEscape(text)
		}
		var b strings.Builder
		for i := range len(text) {
			fmt.Fprintf(&b, "%%%02x", text[i])
		}
		return b.String()
	default:
		return url.QueryEscape(text)
	}
}
