"""Figures: matplotlib for print, live ones for the page, one look for both.

Functions take tables and arrays and return a Figure, or a string of HTML; none reads a file.
"""
