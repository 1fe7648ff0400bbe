// SPDX-License-Identifier: GPL-3.0-or-later

// Package access decides which clients may send which requests to the writer.
//
// # The access file
//
// The access file lists the clients, in YAML:
//
//	clients:
//	  - name: loader                          # in logs, and in the record of deletions
//	    token_sha256: 5f70bf18a086007016e9…   # of the token, in hex
//	    rights: [read, write]
//	    expires: 2027-06-30                   # optional: the last day, in UTC
//	  - name: vault
//	    certificate: vault.example.org        # a name in the client's certificate
//	    rights: [read]
//	anonymous: [read]                         # rights of all others; none by default
//
// A client sends its token in each request, as "Authorization: Bearer TOKEN". The
// file has only the token's SHA-256, so that who reads the file cannot use it:
// `wineryctl access new` makes a token of 256 random bits, which cannot be guessed
// from its SHA-256. A client with a certificate is known by a DNS name, URI or
// e-mail address among the certificate's subject alternative names; its common name
// does not count. A request with a token is judged by the token alone.
//
// # Rights
//
// read is for the contents, presence and ids of objects; write for adding; delete
// for deleting, where objstorage.allow_delete permits it at all. No right implies
// another, but who may add learns whether an object was there: by the answer to an add,
// or to a PUT with a condition. GET / needs none: it says only that a writer answers.
//
// # Errors
//
// 401 is for a request without valid credentials, 403 for a client that lacks the
// right. Both say what is missing and where an operator grants it, and never
// contain a token or its SHA-256.
//
// # Reloading
//
// The access file and the certificates are read again by [Guard.Reload] and
// [Certificates.Reload], while requests are served: a request is judged by one
// version. A file with an error changes nothing.
package access
