// Package standin plays gcloud, and the go that deploys call, in the tests of
// deploys: it keeps in a file what the commands have made. The program gcloud below
// it is what the tests find on their PATH; it links nothing else, so that it can be
// started hundreds of times.
package standin
