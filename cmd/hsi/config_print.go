package main

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
)

// setting is one line of `hsi config`.
type setting struct {
	Name, Value string
}

// configFields are the fields of Config in order; each is one setting.
func configFields() []reflect.StructField { return reflect.VisibleFields(reflect.TypeFor[Config]()) }

// settings lists the effective settings with secrets redacted: the types of the fields know what
// may be shown.
func (c *Config) settings() []setting {
	value := reflect.ValueOf(*c)
	var list []setting
	for _, field := range configFields() {
		name, _, _ := strings.Cut(field.Tag.Get("env"), ",")
		list = append(list, setting{Name: name, Value: fmt.Sprint(value.FieldByIndex(field.Index).Interface())})
	}
	return list
}

// unsetMeaning says what an empty setting means.
var unsetMeaning = map[string]string{
	"EMBEDDED_DEPS_DIR": "no .deps beside the program's folder",
	"DATABASE_URL":      "embedded",
	"REDIS_URL":         "embedded",
	"RTDETR_URL":        "built-in motion detector",
	"NEMOTRON_URL":      "built-in rule scorer",
}

func (c *Config) print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range c.settings() {
		shown := s.Value
		if s.Name == "EMBEDDED_DEPS_DIR" {
			shown = strings.Join(c.depsDirs(), " ")
		}
		if shown == "" {
			shown = "none"
			if meaning, ok := unsetMeaning[s.Name]; ok {
				shown = "(" + meaning + ")"
			}
		}
		if _, err := fmt.Fprintf(table, "%s\t%s\n", s.Name, shown); err != nil {
			return err
		}
	}
	return table.Flush()
}
