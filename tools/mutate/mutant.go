package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
)

// sourceFile is a file that is changed.
type sourceFile struct {
	path    string
	content []byte
	set     *token.FileSet
}

// mutant is one change: the bytes from start to end become text.
type mutant struct {
	file       *sourceFile
	start, end int
	line       int
	what, text string
}

func (m mutant) String() string { return fmt.Sprintf("`%s` %s", m.place(), m.what) }

func (m mutant) place() string { return fmt.Sprintf("%s:%d", m.file.path, m.line) }

// changed is the whole file with the change. The line directive of the compiler is not needed:
// lines stay the same.
func (m mutant) changed() []byte {
	return slices.Concat(m.file.content[:m.start], []byte(m.text), m.file.content[m.end:])
}

// swaps are the operators that become others.
var swaps = map[token.Token]token.Token{ //nolint:gochecknoglobals // a constant table
	token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR,
	token.EQL: token.NEQ, token.NEQ: token.EQL, token.LAND: token.LOR, token.LOR: token.LAND,
	token.ADD: token.SUB, token.SUB: token.ADD, token.MUL: token.QUO, token.QUO: token.MUL,
}

// mutantsOf finds the places of a file that can be changed.
func mutantsOf(path string) ([]mutant, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	file := &sourceFile{path: path, content: content, set: token.NewFileSet()}
	parsed, err := parser.ParseFile(file.set, path, content, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f := &finder{file: file}
	for _, declaration := range parsed.Decls {
		if function, ok := declaration.(*ast.FuncDecl); ok && function.Body != nil {
			ast.Inspect(function.Body, f.visit)
		}
	}
	return f.found, nil
}

type finder struct {
	file  *sourceFile
	found []mutant
}

func (f *finder) offset(p token.Pos) int { return f.file.set.Position(p).Offset }

func (f *finder) text(n ast.Node) string {
	return string(f.file.content[f.offset(n.Pos()):f.offset(n.End())])
}

func (f *finder) add(from, to token.Pos, what, text string) {
	f.found = append(f.found, mutant{
		file: f.file, start: f.offset(from), end: f.offset(to), line: f.file.set.Position(from).Line, what: what, text: text,
	})
}

// visit looks at one node. What only words a message is left out: log calls, whether one is made,
// and the making of error texts. So is the locking of a mutex: without it the program stops at
// once, or only the race detector sees it, and neither says anything about the tests.
func (f *finder) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.CallExpr:
		return !isMessage(f.text(n.Fun))
	case *ast.IfStmt:
		if f.onlyTells(n) {
			if n.Init != nil {
				ast.Inspect(n.Init, f.visit)
			}
			return false
		}
		if c, ok := n.Cond.(*ast.BinaryExpr); ok && (c.Op == token.EQL || c.Op == token.NEQ) {
			break // the same as the other operator
		}
		f.add(n.Cond.Pos(), n.Cond.End(), "condition negated: "+oneLine(f.text(n.Cond)), "!("+f.text(n.Cond)+")")
	case *ast.BinaryExpr:
		if other, ok := swaps[n.Op]; ok {
			f.add(n.OpPos, n.OpPos+token.Pos(len(n.Op.String())), fmt.Sprintf("%s for %s: %s", other, n.Op, oneLine(f.text(n))), other.String())
		}
	case *ast.IncDecStmt:
		other := map[token.Token]string{token.INC: "--", token.DEC: "++"}[n.Tok]
		f.add(n.TokPos, n.TokPos+2, "counts the other way: "+f.text(n), other)
	case *ast.ExprStmt:
		if call, ok := n.X.(*ast.CallExpr); ok && !isMessage(f.text(call.Fun)) && !isLocking(call) {
			f.add(n.Pos(), n.End(), "left out: "+oneLine(f.text(n)), lines(f.text(n)))
		}
	case *ast.ReturnStmt:
		if len(n.Results) > 0 {
			if last, ok := n.Results[len(n.Results)-1].(*ast.Ident); ok && last.Name == "err" {
				f.add(last.Pos(), last.End(), "error dropped: "+oneLine(f.text(n)), "nil")
			}
		}
	case *ast.BranchStmt:
		if n.Label == nil && n.Tok == token.CONTINUE {
			f.add(n.Pos(), n.End(), "break for continue", "break")
		}
	}
	return true
}

// onlyTells tells whether nothing but log lines hangs on a condition.
func (f *finder) onlyTells(n *ast.IfStmt) bool {
	for _, statement := range n.Body.List {
		expression, ok := statement.(*ast.ExprStmt)
		if !ok {
			return false
		}
		if call, ok := expression.X.(*ast.CallExpr); !ok || !isMessage(f.text(call.Fun)) {
			return false
		}
	}
	return n.Else == nil
}

// isMessage tells calls whose outcome is words for people.
func isMessage(function string) bool {
	name := function[strings.LastIndex(function, ".")+1:]
	switch name {
	case "DebugContext", "InfoContext", "WarnContext", "ErrorContext", "LogAttrs", "Debug", "Info", "Warn", "Error", "Errorf", "Sprintf", "Sprint", "Say":
		return true
	}
	return false
}

// isLocking tells calls that lock or unlock.
func isLocking(call *ast.CallExpr) bool {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	return ok && slices.Contains([]string{"Lock", "Unlock", "RLock", "RUnlock"}, selector.Sel.Name)
}

func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 90 {
		text = strings.ToValidUTF8(text[:90], "") + "…"
	}
	return "`" + text + "`"
}

// lines are as many empty lines as the text has, so that later lines keep their numbers.
func lines(text string) string { return string(bytes.Repeat([]byte("\n"), strings.Count(text, "\n"))) }
