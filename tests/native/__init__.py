"""The compiled packet plane under sanitizers and fuzzers; C sources and corpora are beside this."""
