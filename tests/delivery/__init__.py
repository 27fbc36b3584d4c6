"""Results to their destinations: a scripted PACS and DCMTK's storescp on the other side."""
