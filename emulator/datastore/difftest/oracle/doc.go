// Package oracle runs Google's emulators of Datastore as processes of their own:
// the Firestore emulator in Datastore mode, and the older Datastore emulator.
// They come with the Google Cloud CLI and need Java; nothing of them is part of
// this repository.
//
// Failure modes: where the CLI, a component of it or Java is missing, Start's
// error is a *MissingError, which says what to install.
package oracle
