"""A simulated Neo4j Enterprise: ``neo4j-admin``, ``cypher-shell`` and a clustered server, of any version.

Guarantee: what a backup tool can see (options by version, exit codes, artifacts, chains, lag, roles, wrong
passwords, the image's rules) behaves as Neo4j's documentation says, and where that is silent, in the way
that is hardest on the caller. Only the standard library, so that it runs in an image without packages.

Non-guarantee: no Bolt protocol, no Cypher beyond administration and adding transactions, no cloud URIs,
no sharded databases. The tools and the server speak a private protocol with each other.
"""
