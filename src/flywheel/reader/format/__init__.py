"""What several readers share: opening raw files, decoding pictures, tables in chunks."""
