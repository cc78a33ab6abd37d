// Package nightly tells tests which form is asked for: the short one, which every change has to
// pass, or the long one with the same tests and more data.
package nightly

import "os"

// Variable switches the long form on when it is 1.
const Variable = "HSI_NIGHTLY"

// Is tells whether the long form is asked for.
func Is() bool { return os.Getenv(Variable) == "1" }

// Pick returns the parameter of the form that is asked for.
func Pick[T any](short, long T) T {
	if Is() {
		return long
	}
	return short
}
