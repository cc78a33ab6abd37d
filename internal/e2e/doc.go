// Package e2e has what a run of the whole server needs: the server as a process, scripted AI
// services, cameras that remember what they wrote, faults, a reader of the database, and the audit
// that holds what is stored against what was written and said. It has two users, the tests of
// cmd/hsi and the program chaos.
package e2e
