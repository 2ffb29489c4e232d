"""From files, directories and Hub data sets to tables: formats, columns, and where a fault is.

``sources`` finds the parts, ``formats`` knows who reads which ending, ``columns`` chooses the text
and label columns, ``rows`` reads them into mapped memory.
"""
